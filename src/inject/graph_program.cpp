#include "jointtuner/inject/graph_program.h"

#include <c10/core/ScalarType.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "graph_rewrite.h"
#include "jointtuner/backbone/frozen_module.h"
#include "jointtuner/backbone/positional.h"
#include "jointtuner/base/device.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/nearest.h"
#include "jointtuner/base/shape.h"
#include "segment.h"
#include "sites.h"

namespace jointtuner::inject {

namespace jit = torch::jit;

namespace {

std::vector<std::string> groups_of(const std::vector<adapter::Site>& sites) {
  std::vector<std::string> groups;
  for (const adapter::Site& site : sites)
    if (std::find(groups.begin(), groups.end(), site.group) == groups.end()) groups.push_back(site.group);
  return groups;
}

struct Program {
  explicit Program(RewrittenGraph rewritten)
      : code(rewritten.graph, "denoiser"), added(std::move(rewritten.added)), segments(std::move(rewritten.segments)) {}

  jit::Code code;
  std::vector<AddedInput> added;
  std::vector<std::string> segments;
};

void check_latents(const Tensor& latents, const backbone::DenoiserManifest& denoiser) {
  check_shape(latents, {-1, denoiser.in_channels, -1, -1, -1}, "latents [B,C,F,h,w]");
  const int64_t frames = latents.size(2), height = latents.size(3), width = latents.size(4);
  if (latents.numel() == 0) throw Error(fmt::format("latents are empty: {}", shape_text(latents.sizes())));
  if (height % denoiser.height_multiple != 0 || width % denoiser.width_multiple != 0)
    throw Error(fmt::format(
        "latents are {} high and {} wide; this denoiser takes multiples of {} and {}. Choose another video size.",
        height, width, denoiser.height_multiple, denoiser.width_multiple));
  if (frames % denoiser.frames_multiple != 0)
    throw Error(fmt::format("latents have {} frames; this denoiser takes multiples of {}. Pad them in front.", frames,
                            denoiser.frames_multiple));
}

void check_inputs(const Tensor& latents, const Tensor& timestep, const Tensor& prompt_embedding,
                  const backbone::Manifest& manifest) {
  check_latents(latents, manifest.denoiser);
  const int64_t batch = latents.size(0);
  check_shape(timestep, {batch}, "timestep [B]");
  if (timestep.scalar_type() != at::kLong)
    throw Error(fmt::format("timestep must be int64, found {}", c10::toString(timestep.scalar_type())));
  check_shape(prompt_embedding, {batch, -1, manifest.text.embedding_width}, "prompt embedding [B,L,D]");
}

}  // namespace

SegmentMemory segment_memory_from_text(std::string_view text) {
  if (text == "off") return SegmentMemory::keep;
  if (text == "on") return SegmentMemory::recompute;
  if (text == "offload") return SegmentMemory::offload;
  throw Error(fmt::format("activation checkpointing is off, on or offload; found \"{}\"", text));
}

struct GraphProgram::Impl {
  Impl(const backbone::Bundle& bundle, at::Device device_, GraphOptions options_)
      : manifest(bundle.manifest()),
        device(device_),
        options(options_),
        denoiser(bundle.file(manifest.denoiser.file), device, {{"forward", manifest.denoiser.inputs.size()}}),
        sites(find_sites(root_module(denoiser.module(), manifest.denoiser), manifest.denoiser)),
        groups(groups_of(sites)),
        adapted(build(sites)),
        segment_memory(for_each_segment(options.segment_memory)) {}

  Program build(const std::vector<adapter::Site>& adapted_sites) const {
    const RewriteRequest request{device, adapted_sites, groups, options.gated};
    try {
      return Program(rewrite(denoiser.module(), manifest.denoiser, request));
    } catch (const c10::Error& error) {
      throw Error(fmt::format("{}: the graph cannot be rewritten: {}. Export the bundle again.", manifest.denoiser.file,
                              backbone::one_line(error)));
    }
  }

  std::vector<SegmentMemory> for_each_segment(const std::vector<SegmentMemory>& choice) const {
    if (choice.size() == 1) return std::vector(adapted.segments.size(), choice[0]);
    if (choice.size() == adapted.segments.size()) return choice;
    throw Error(fmt::format("{} choices of SegmentMemory for {} segments ({}); give one for each, or one for all",
                            choice.size(), adapted.segments.size(), fmt::join(adapted.segments, ", ")));
  }

  const Program& frozen() {
    std::call_once(frozen_once, [this] { frozen_program = std::make_unique<Program>(build({})); });
    return *frozen_program;
  }

  /// latents [B,C,F,h,w] in the denoiser's layout, and its prediction back: the same exchange of two dimensions.
  Tensor turned(const Tensor& tensor) const {
    return manifest.denoiser.layout == "BFCHW" ? tensor.transpose(1, 2) : tensor;
  }

  /// The tensor for one role of the denoiser's inputs.
  Tensor argument(const std::string& role, const Tensor& latents, const Tensor& timestep,
                  const Tensor& prompt_embedding);
  Tensor position(const std::string& role, const Tensor& latents);

  void check_adapters(const adapter::AdapterSet& adapters, const AdapterRun& how) const;
  at::IValue added_value(const AddedInput& input, const adapter::AdapterSet* adapters, const AdapterRun& how,
                         int64_t batch) const;

  const backbone::Manifest manifest;
  const at::Device device;
  const GraphOptions options;
  const backbone::FrozenModule denoiser;
  const std::vector<adapter::Site> sites;
  const std::vector<std::string> groups;
  const Program adapted;
  std::vector<SegmentMemory> segment_memory;
  const std::shared_ptr<HostMemory> host = std::make_shared<HostMemory>(device);
  std::once_flag frozen_once;
  std::unique_ptr<Program> frozen_program;

 private:
  // Position inputs of the sizes last used, on the device: training alternates between pictures and clips.
  struct Positions {
    std::vector<int64_t> size;
    std::map<std::string, Tensor> tensors;
  };
  static constexpr size_t kSizesKept = 2;
  std::mutex positions_mutex;
  std::deque<Positions> positions;
};

Tensor GraphProgram::Impl::argument(const std::string& role, const Tensor& latents, const Tensor& timestep,
                                    const Tensor& prompt_embedding) {
  if (role == "timestep") return timestep.to(device);
  if (role == "latents") return turned(latents.to(device, manifest.denoiser.dtype)).contiguous();
  if (role == "prompt_embedding") return prompt_embedding.to(device, manifest.denoiser.dtype);
  return position(role, latents);
}

Tensor GraphProgram::Impl::position(const std::string& role, const Tensor& latents) {
  const std::lock_guard lock(positions_mutex);
  const std::vector<int64_t> size = {latents.size(2), latents.size(3), latents.size(4)};
  auto known = std::find_if(positions.begin(), positions.end(), [&](const auto& p) { return p.size == size; });
  if (known == positions.end()) {
    Positions made{size, backbone::positional_inputs(manifest.denoiser.positional, size[0], size[1], size[2])};
    for (auto& [name, tensor] : made.tensors) tensor = to_device(tensor, device);
    if (positions.size() == kSizesKept) positions.pop_front();
    known = positions.insert(positions.end(), std::move(made));
  }
  return known->tensors.at(role);
}

void GraphProgram::Impl::check_adapters(const adapter::AdapterSet& adapters, const AdapterRun& how) const {
  if (adapters.sites() != sites)
    throw Error(fmt::format(
        "the adapters were made for other sites ({}) than this denoiser's ({}). Use the adapter with the backbone it "
        "was trained on.",
        adapters.size(), sites.size()));
  if (adapters.gated() != options.gated)
    throw Error(fmt::format("the adapters are {}gated, but the program was built for {}gated ones",
                            adapters.gated() ? "" : "un", options.gated ? "" : "un"));
  if (adapters.device() != device)
    throw Error(fmt::format("the adapters are on {}, the denoiser on {}", adapters.device().str(), device.str()));
  if (!(how.dropout >= 0 && how.dropout < 1))
    throw Error(fmt::format("dropout must lie in [0, 1), found {}", how.dropout));
  for (const auto& [group, scale] : how.group_scale) {
    if (std::find(groups.begin(), groups.end(), group) != groups.end()) continue;
    const std::string near = nearest(group, groups);
    throw Error(
        fmt::format("a strength is given for the site group `{}`, which this denoiser does not have{}. Its groups: {}",
                    group, near.empty() ? "" : fmt::format(" (did you mean `{}`?)", near), fmt::join(groups, ", ")));
  }
}

at::IValue GraphProgram::Impl::added_value(const AddedInput& input, const adapter::AdapterSet* adapters,
                                           const AdapterRun& how, int64_t batch) const {
  switch (input.kind) {
    case InputKind::down:
      return adapters->at(input.index).down;
    case InputKind::up:
      return adapters->at(input.index).up;
    case InputKind::gate:
      return adapters->at(input.index).gate;
    case InputKind::scale: {
      const auto group = how.group_scale.find(groups[input.index]);
      return how.scale * (group == how.group_scale.end() ? 1.0 : group->second);
    }
    case InputKind::dropout:
      return how.dropout;
    case InputKind::dropout_seed:
      return how.dropout_seed;
    case InputKind::pooling_groups:
      return how.pooling == adapter::GatePooling::sample ? batch : int64_t{1};
    case InputKind::segment_run:
      return at::IValue::make_capsule(c10::make_intrusive<SegmentRun>(segment_memory, host));
  }
  throw Error("an added graph input of unknown kind");
}

GraphProgram::GraphProgram(const backbone::Bundle& bundle, at::Device device, GraphOptions options)
    : impl_(std::make_unique<Impl>(bundle, device, options)) {}
GraphProgram::~GraphProgram() = default;
GraphProgram::GraphProgram(GraphProgram&&) noexcept = default;
GraphProgram& GraphProgram::operator=(GraphProgram&&) noexcept = default;

const std::vector<adapter::Site>& GraphProgram::sites() const { return impl_->sites; }

const std::vector<std::string>& GraphProgram::segment_names() const { return impl_->adapted.segments; }

void GraphProgram::set_segment_memory(const std::vector<SegmentMemory>& choice) {
  impl_->segment_memory = impl_->for_each_segment(choice);
}

int64_t GraphProgram::host_bytes() const { return impl_->host->allocated_bytes(); }

Tensor GraphProgram::run(const Tensor& latents, const Tensor& timestep, const Tensor& prompt_embedding,
                         const adapter::AdapterSet* adapters, const AdapterRun& how) const {
  check_inputs(latents, timestep, prompt_embedding, impl_->manifest);
  if (adapters) impl_->check_adapters(*adapters, how);
  const Program& program = adapters ? impl_->adapted : impl_->frozen();
  try {
    jit::Stack stack;
    stack.reserve(1 + impl_->manifest.denoiser.inputs.size() + program.added.size());
    stack.emplace_back(impl_->denoiser.module()._ivalue());
    for (const std::string& role : impl_->manifest.denoiser.inputs)
      stack.emplace_back(impl_->argument(role, latents, timestep, prompt_embedding));
    for (const AddedInput& input : program.added)
      stack.push_back(impl_->added_value(input, adapters, how, latents.size(0)));
    jit::InterpreterState(program.code).run(stack);
    const Tensor prediction = impl_->turned(std::move(stack.back()).toTensor());
    check_shape(prediction, {latents.size(0), latents.size(1), latents.size(2), latents.size(3), latents.size(4)},
                "prediction");
    return prediction.to(at::kFloat).contiguous();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(
        fmt::format("the denoiser failed on latents {}: {}", shape_text(latents.sizes()), backbone::one_line(error)));
  }
}

}  // namespace jointtuner::inject

// The frozen denoiser as a program with adapters: the traced graph, rewritten once, run as often as needed.
//
// load -> copy of the graph -> inline all calls but those of checkpoint segments -> canonicalise (device constants,
// repeat counts; control flow and active dropout are refused) -> each adapted aten::linear becomes
// jointtuner::glora_linear whose adapter tensors are inputs of the graph -> each segment becomes jointtuner::segment,
// run under a re-entrant checkpoint while training where its SegmentMemory says so. The weights exist once, are never
// changed and never get gradients.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/adapter/gate_pooling.h"
#include "jointtuner/adapter/site.h"
#include "jointtuner/backbone/bundle.h"

namespace jointtuner::inject {

using at::Tensor;

/// What a checkpoint segment holds between forward and backward, when gradients are recorded at all. It changes memory
/// and time, never a bit of a result.
///   keep       all that backward needs
///   recompute  the segment's inputs; backward computes the rest again
///   offload    as recompute, and the inputs wait in host memory, pinned where the device is CUDA. This is for recorded
///              activations. Adapters, weights and inputs without gradient (text states, the timestep's embedding,
///              rotary tables), which many segments share, stay on the device; a recorded activation that several
///              segments share is copied out once. Inputs of two segments at a time are on the device: the copies run
///              beside the computation, out while the segment runs, back while the one after it is computed again.
enum class SegmentMemory { keep, recompute, offload };

/// "off" is keep, "on" is recompute, "offload" is offload; anything else is an Error naming what was found and what is
/// allowed.
SegmentMemory segment_memory_from_text(std::string_view text);

struct GraphOptions {
  /// One for each segment, in the order of GraphProgram::segment_names(), or a single one for all.
  std::vector<SegmentMemory> segment_memory = {SegmentMemory::recompute};
  /// The adapters have gates. Without: plain low-rank adaptation, y = xW^T + b + scale * Dropout((xD^T)U^T).
  bool gated = true;
};

/// How the adapters act in one run. A site's scale is `scale * group_scale[site.group]` (1 for a group that is not
/// named).
struct AdapterRun {
  double scale = 1;
  std::map<std::string, double> group_scale = {};
  double dropout = 0;        ///< probability p in [0, 1)
  int64_t dropout_seed = 0;  ///< masks are a function of (seed, site, element) alone
  adapter::GatePooling pooling = adapter::GatePooling::sample;
};

class GraphProgram {
 public:
  // Loads the bundle's denoiser onto `device` and builds the adapted program. Throws Error if the file is damaged, has
  // control flow, an unknown call or an active dropout, if a rule of the manifest matches no or another number of
  // linears, or a segment pattern matches nothing.
  GraphProgram(const backbone::Bundle& bundle, at::Device device, GraphOptions options = {});
  ~GraphProgram();
  GraphProgram(GraphProgram&&) noexcept;
  GraphProgram& operator=(GraphProgram&&) noexcept;

  /// The adapted linears in the published order.
  const std::vector<adapter::Site>& sites() const;
  /// The checkpoint segments in the order in which they run: module paths below the root, as of sites.
  const std::vector<std::string>& segment_names() const;
  /// From the next run on; as GraphOptions::segment_memory. Throws Error for another number of choices.
  void set_segment_memory(const std::vector<SegmentMemory>& choice);
  /// Host memory held for offloaded inputs: it grows to the need of the largest run so far and is reused from run to
  /// run. On the meta device, what another device would take.
  int64_t host_bytes() const;

  /// latents [B,C,F,h,w], timestep [B] int64, prompt_embedding [B,L,D] (floating point, any device) -> prediction
  /// [B,C,F,h,w] fp32 on the program's device. The model runs in the bundle's dtype; casts happen here. `adapters` null
  /// runs the frozen model, built on first use; it equals zero lora_up bit for bit. Under grad mode gradients flow to
  /// adapters (and to latents and embedding) that require them. Throws Error for sizes that the manifest does not
  /// allow, for adapters of other sites, of another device or gating, for an unknown group, and for what fails inside
  /// the model, with the operator's message.
  Tensor run(const Tensor& latents, const Tensor& timestep, const Tensor& prompt_embedding,
             const adapter::AdapterSet* adapters, const AdapterRun& how = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::inject

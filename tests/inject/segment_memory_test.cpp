// What segments hold between forward and backward: no bit of a result, and the memory that the choice is for.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <regex>

#include "jointtuner/backbone/video_size.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/inject/segment_watch.h"
#include "support/counting_allocator.h"
#include "support/expect_error.h"
#include "support/families.h"

namespace jointtuner::inject {
namespace {

using enum SegmentMemory;
using adapter::AdapterSet;
using backbone::VideoSize;
using Choice = std::vector<SegmentMemory>;

Tensor draw(at::IntArrayRef shape, const std::string& name) { return normal_draw(shape, generator(5, 0, name)); }

struct Inputs {
  Tensor latents, timestep, embedding;
};

/// Gradients of the adapters and of the latents, and the prediction.
struct Step {
  Tensor prediction, adapters, latents;
};

class SegmentMemoryTest : public ::testing::TestWithParam<testing::Family> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }

  SegmentMemoryTest()
      : bundle_(backbone::Bundle::open(GetParam().bundle, backbone::Verify::sizes)),
        program_(bundle_, at::kCPU),
        adapters_(trained(program_, 2)) {
    adapters_.set_requires_grad(true);
  }

  /// Random values everywhere, so that every site acts and has a gradient.
  static AdapterSet trained(const GraphProgram& program, int64_t rank) {
    AdapterSet set(program.sites(), rank, true, at::kCPU);
    set.assign(draw({set.parameters()}, "adapters").mul(0.3));
    return set;
  }

  /// Two clips, or two pictures.
  Inputs inputs(bool clips = true) const {
    const testing::Family& family = GetParam();
    auto shape = backbone::latents_shape(bundle_.manifest(), {clips ? family.frames : 1, family.height, family.width});
    shape[0] = 2;
    const auto& text = bundle_.manifest().text;
    return {draw(shape, "latents"), at::full({2}, 500, at::kLong),
            draw({2, text.max_length, text.embedding_width}, "text")};
  }

  Tensor prediction(const Inputs& in, const Choice& choice, int64_t seed = 1) {
    program_.set_segment_memory(choice);
    return program_.run(in.latents, in.timestep, in.embedding, &adapters_, {.dropout = 0.2, .dropout_seed = seed});
  }

  Step step(Inputs in, const Choice& choice, int64_t seed = 1) {
    in.latents = in.latents.clone().requires_grad_(true);
    adapters_.zero_gradient();
    const Tensor found = prediction(in, choice, seed);
    found.square().mean().backward();
    return {found.detach(), adapters_.flat_gradient().clone(), in.latents.grad()};
  }

  /// Choices that repeat `pattern` over the segments.
  Choice repeated(const Choice& pattern) const {
    Choice choice;
    for (size_t i = 0; i < program_.segment_names().size(); ++i) choice.push_back(pattern[i % pattern.size()]);
    return choice;
  }

  const backbone::Bundle bundle_;
  GraphProgram program_;
  AdapterSet adapters_;
};
FOR_ALL_FAMILIES(SegmentMemoryTest);

void expect_equal(const Step& found, const Step& expected, const std::string& what) {
  EXPECT_TRUE(at::equal(found.prediction, expected.prediction)) << what;
  EXPECT_TRUE(at::equal(found.adapters, expected.adapters)) << what;
  EXPECT_TRUE(at::equal(found.latents, expected.latents)) << what;
}

TEST_P(SegmentMemoryTest, NoChoiceChangesABit) {
  const std::vector<Choice> choices = {{recompute},
                                       {offload},
                                       repeated({keep, offload}),
                                       repeated({offload, keep}),
                                       repeated({recompute, offload}),
                                       repeated({offload, offload, recompute, keep})};
  // Clips and pictures in turn, as a training run has them: host buffers are reused for other sizes.
  for (const bool clips : {true, false}) {
    for (const int64_t seed : {1, 2, 3}) {
      const Step kept = step(inputs(clips), {keep}, seed);
      EXPECT_GT(kept.adapters.norm().item<double>(), 0);
      EXPECT_GT(kept.latents.norm().item<double>(), 0);
      for (size_t i = 0; i < choices.size(); ++i)
        expect_equal(step(inputs(clips), choices[i], seed), kept, fmt::format("choice {}, seed {}", i, seed));
    }
  }
}

TEST_P(SegmentMemoryTest, RunsMayOverlapAndBeDifferentiatedTwice) {
  const Step clip = step(inputs(), {keep}), picture = step(inputs(false), {keep});
  const Tensor a = prediction(inputs(), {offload}).square().mean();
  const Tensor b = prediction(inputs(false), {offload}).square().mean();
  const auto gradient_of = [this](const Tensor& loss, bool retain) {
    adapters_.zero_gradient();
    loss.backward({}, retain);
    return adapters_.flat_gradient().clone();
  };
  EXPECT_TRUE(at::equal(gradient_of(a, true), clip.adapters));
  EXPECT_TRUE(at::equal(gradient_of(b, false), picture.adapters));
  EXPECT_TRUE(at::equal(gradient_of(a, false), clip.adapters));
}

struct Memory {
  int64_t live = 0;  ///< between forward and backward
  int64_t peak = 0;
};

/// Bytes of the device that a step of this loss takes: the host buffers are there from a step before.
Memory memory_of(const std::function<Tensor()>& loss) {
  loss().backward();
  const testing::CountingAllocator memory;
  const Tensor found = loss();
  const int64_t live = memory.live();
  found.backward();
  return {live, memory.peak()};
}

TEST_P(SegmentMemoryTest, LessIsHeldTheMoreIsComputedOrMoved) {
  const Inputs in = inputs();
  std::map<SegmentMemory, Memory> of;
  for (const SegmentMemory memory : {keep, recompute, offload}) {
    of[memory] = memory_of([&] { return prediction(in, {memory}).square().mean(); });
    EXPECT_EQ(program_.host_bytes() > 0, memory == offload);
  }
  EXPECT_GT(of[keep].live, of[recompute].live);
  EXPECT_GT(of[keep].peak, of[recompute].peak);
  // Of what is offloaded the device holds the last segment's inputs only: all there is in a model of two segments. The
  // peak of models this small is one segment's own work.
  if (program_.segment_names().size() > 2)
    EXPECT_LT(of[offload].live, of[recompute].live - program_.host_bytes() / 2);
  else
    EXPECT_LE(of[offload].live, of[recompute].live);
  EXPECT_LE(of[offload].peak, of[recompute].peak);
}

TEST_P(SegmentMemoryTest, HostBuffersAreReusedAlsoAfterARunWithoutBackward) {
  const Inputs in = inputs();
  step(in, {offload});
  const int64_t bytes = program_.host_bytes();
  EXPECT_GT(bytes, 0);
  prediction(in, {offload});
  step(in, {offload}, 2);
  step(inputs(false), {offload});
  step(in, repeated({offload, recompute}));
  EXPECT_EQ(program_.host_bytes(), bytes);
  at::NoGradGuard no_grad;
  EXPECT_FALSE(prediction(in, {offload}).requires_grad());
}

TEST_P(SegmentMemoryTest, AdaptersStayAndASharedActivationIsCopiedOnce) {
  Inputs in = inputs();
  prediction(in, {offload});
  const int64_t bytes = program_.host_bytes();
  GraphProgram other(bundle_, at::kCPU, {.segment_memory = {offload}});
  AdapterSet larger = trained(other, 8);
  larger.set_requires_grad(true);
  other.run(in.latents, in.timestep, in.embedding, &larger);
  EXPECT_EQ(other.host_bytes(), bytes);
  // Text states that are recorded go to every segment that attends to them; UNet3D repeats them for each frame before.
  in.embedding = in.embedding.clone().requires_grad_(true).mul(1);
  GraphProgram shared(bundle_, at::kCPU, {.segment_memory = {offload}});
  shared.run(in.latents, in.timestep, in.embedding, &larger);
  EXPECT_GE(shared.host_bytes(), bytes);
  EXPECT_LE(shared.host_bytes(), bytes + in.latents.size(2) * static_cast<int64_t>(in.embedding.nbytes()));
}

TEST_P(SegmentMemoryTest, SegmentsAreNamedInTheirOrder) {
  const std::vector<std::string>& names = program_.segment_names();
  const auto& patterns = bundle_.manifest().denoiser.segments;
  ASSERT_FALSE(names.empty());
  for (const std::string& name : names) {
    EXPECT_TRUE(std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
      return std::regex_match(name, std::regex(pattern));
    })) << name;
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  }
}

TEST_P(SegmentMemoryTest, TheInnermostWatchSeesEachRecordingSegmentOnce) {
  std::vector<size_t> inner_saw, outer_saw, all(program_.segment_names().size());
  std::iota(all.begin(), all.end(), size_t{0});
  const SegmentWatch outer([&](size_t segment) { outer_saw.push_back(segment); });
  {
    const SegmentWatch inner([&](size_t segment) { inner_saw.push_back(segment); });
    step(inputs(), {recompute});
    const at::NoGradGuard no_grad;
    prediction(inputs(), {recompute});
  }
  EXPECT_EQ(inner_saw, all);
  EXPECT_TRUE(outer_saw.empty());
  prediction(inputs(), {keep});
  EXPECT_EQ(outer_saw, all);
}

TEST_P(SegmentMemoryTest, AWrongNumberOfChoicesIsAnError) {
  const std::string first = program_.segment_names()[0];
  const std::string count = fmt::format("for {} segments ({}", program_.segment_names().size(), first);
  Choice choice = repeated({keep});
  choice.push_back(keep);
  EXPECT_ERROR(program_.set_segment_memory(choice), Error, fmt::format("{} choices", choice.size()), count);
  EXPECT_ERROR(program_.set_segment_memory({}), Error, "0 choices", count);
  EXPECT_ERROR(GraphProgram(bundle_, at::kCPU, {.segment_memory = choice}), Error, count);
}

TEST(SegmentMemory, HasTheWordsOfTheConfig) {
  EXPECT_EQ(segment_memory_from_text("off"), keep);
  EXPECT_EQ(segment_memory_from_text("on"), recompute);
  EXPECT_EQ(segment_memory_from_text("offload"), offload);
  EXPECT_ERROR(segment_memory_from_text("keep"), Error, "off, on or offload", "\"keep\"");
}

}  // namespace
}  // namespace jointtuner::inject

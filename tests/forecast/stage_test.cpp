#include "jointtuner/forecast/stage.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "counted.h"
#include "src/forecast/dry_run.h"
#include "support/expect_error.h"

namespace jointtuner::forecast {
namespace {

using inject::SegmentMemory;

/// The forecast and the count differ by what the CPU's kernels of glora_linear take for themselves: blocks of at most
/// 256 KiB a thread (kernels/cpu/glora_parts.cpp), 1 to 2 % of the smallest case's peak.
constexpr double kTolerance = 0.03;

/// What a CPU's convolutions and attention take for themselves depends on its vectors (the models here have 8 channels,
/// one block of AVX2) and on its threads: all machines count alike.
class OneKindOfCpu : public ::testing::Environment {
 public:
  void SetUp() override {
    ::setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
    at::set_num_threads(2);
  }
};
const auto* const kOneKindOfCpu = ::testing::AddGlobalTestEnvironment(new OneKindOfCpu);

void expect_forecast(const char* what, const Stage& stage, int64_t counted) {
  const int64_t forecast = stage.adapters + stage.activations;
  const double off = static_cast<double>(forecast) / static_cast<double>(counted) - 1;
  fmt::print("{:<10} forecast {:>10} counted {:>10} {:+.2f} %\n", what, forecast, counted, 100 * off);
  EXPECT_LE(std::abs(off), kTolerance) << what << ": forecast " << forecast << ", counted " << counted;
}

class ForecastOfTraining : public ::testing::TestWithParam<Case> {};

TEST_P(ForecastOfTraining, EqualsTheCountedPeakOfTheSameSteps) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle(GetParam().bundle));
  const Work work = work_of(GetParam(), bundle.manifest());
  expect_forecast("train", train(bundle, work, at::kCPU), counted_training(bundle, work));
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  const Case& one = info.param;
  const char* memory = one.memory == SegmentMemory::keep ? "keep" : "recompute";
  return fmt::format("{}_{}x{}x{}_batch{}_{}", one.bundle, one.height, one.width, one.frames, one.batch, memory);
}

INSTANTIATE_TEST_SUITE_P(Cases, ForecastOfTraining,
                         ::testing::Values(Case{"nano_bundle", 32, 32, 4, SegmentMemory::keep},
                                           Case{"nano_bundle", 32, 64, 8, SegmentMemory::keep},
                                           Case{"nano_bundle", 32, 64, 8, SegmentMemory::recompute},
                                           Case{"nano_bundle", 32, 64, 4, SegmentMemory::recompute, 2},
                                           Case{"nano_2b_bundle", 256, 256, 9, SegmentMemory::keep},
                                           Case{"nano_2b_bundle", 256, 256, 9, SegmentMemory::recompute},
                                           Case{"nano_5b_bundle", 256, 384, 9, SegmentMemory::keep},
                                           Case{"nano_5b_bundle", 256, 384, 9, SegmentMemory::recompute},
                                           Case{"nano_15_bundle", 64, 64, 49, SegmentMemory::keep, 8}),
                         name_of);

class ForecastOfVideos : public ::testing::TestWithParam<Case> {};

TEST_P(ForecastOfVideos, EqualsTheCountedPeakOfSamplingDecodingAndEncoding) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle(GetParam().bundle));
  Work work = work_of(GetParam(), bundle.manifest());
  expect_forecast("preview", preview(bundle, work, at::kCPU), counted_preview(bundle, work));
  expect_forecast("decode", decode(bundle, work, at::kCPU), counted_decode(bundle, work));
  expect_forecast("encode", encode_latents(bundle, work, at::kCPU), counted_encode(bundle, work));
}

INSTANTIATE_TEST_SUITE_P(Cases, ForecastOfVideos,
                         ::testing::Values(Case{"nano_bundle", 96, 64, 5}, Case{"nano_bundle", 128, 128, 2},
                                           Case{"nano_2b_bundle", 64, 64, 9},     // convolutions by LibTorch
                                           Case{"nano_5b_bundle", 1024, 32, 9}),  // by oneDNN
                         name_of);

/// Elements of all parameters and buffers x 4 bytes, and rank x (inputs + outputs) + inputs summed over the sites:
/// counted from the files with Python.
TEST(Forecast, WeightsAndOptimiserAreThoseCountedByHand) {
  const auto unet = backbone::Bundle::open(testing::golden_bundle("nano_bundle"));
  const Work work = work_of({"nano_bundle", 32, 32, 4}, unet.manifest());
  const Stage training = train(unet, work, at::kCPU), sampling = preview(unet, work, at::kCPU);
  EXPECT_EQ(training.weights, 349200);
  EXPECT_EQ(sampling.weights, 349200);
  EXPECT_EQ(sampling.adapters, 11328 * 4);
  EXPECT_EQ(training.adapters, 11328 * 4 * 4 + 4) << "values, gradients, two moments, and the step's count";
  EXPECT_EQ(decode(unet, work, at::kCPU).weights, 60892);
  EXPECT_EQ(encode_latents(unet, work, at::kCPU).weights, 60892);
  EXPECT_EQ(encode_text(unet, at::kCPU).weights, 44800);

  const auto transformer = backbone::Bundle::open(testing::golden_bundle("nano_2b_bundle"));
  Work other = work_of({"nano_2b_bundle", 32, 48, 9}, transformer.manifest());
  EXPECT_EQ(encode_text(transformer, at::kCPU).weights, 22720);
  EXPECT_EQ(train(transformer, other, at::kCPU).weights, 168896);
  EXPECT_EQ(train(transformer, other, at::kCPU).adapters, 5184 * 4 * 4 + 4);
  other.previews = true;
  EXPECT_EQ(preview(transformer, other, at::kCPU).adapters, 5184 * 4 * 4 + 4);
  const Stage inside = decode(transformer, other, at::kCPU);
  EXPECT_EQ(inside.weights, 168896 + 212780) << "the denoiser stays while a preview is decoded";
  EXPECT_EQ(inside.adapters, 5184 * 4 * 4 + 4);
}

TEST(Forecast, DescribesACardWithItsBlocksAndItsAttention) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle("nano_5b_bundle"));
  const Work work = work_of({"nano_5b_bundle", 64, 96, 9, SegmentMemory::keep}, bundle.manifest());
  const Stage host = train(bundle, work, at::kCPU), gpu = train(bundle, work, at::kCUDA);
  EXPECT_EQ(gpu.weights, host.weights);
  EXPECT_GE(gpu.peak(), host.peak()) << "flash attention's fp32 work space";
  EXPECT_GT(gpu.rounding, 0);
  EXPECT_LT(gpu.rounding, 512 * 5000);
}

TEST(Forecast, PicturesCountWhereThereAreNoClips) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle("nano_bundle"));
  Work work = work_of({"nano_bundle", 64, 64, 8}, bundle.manifest());
  const int64_t clips = train(bundle, work, at::kCPU).activations;
  work.data.videos.clear();
  work.data.images.resize(1);
  EXPECT_LT(train(bundle, work, at::kCPU).activations, clips / 4);
}

TEST(Forecast, TilesSlicesPicturesAndSingleStepsHoldLess) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle("nano_bundle"));
  const Work whole = work_of({"nano_bundle", 64, 64, 8}, bundle.manifest());
  Work tiles = whole, slices = whole, pictures = whole, multistep = whole, one_step = whole;
  tiles.sample.decode_tile = tiles.data.encode_tile = 32;
  slices.sample.decode_slice = 1;
  const int64_t decoded = decode(bundle, whole, at::kCPU).activations;
  EXPECT_LT(decode(bundle, tiles, at::kCPU).activations, decoded);
  EXPECT_LT(decode(bundle, slices, at::kCPU).activations, decoded);
  pictures.data.videos.clear();
  pictures.data.images.resize(1);
  const int64_t encoded = encode_latents(bundle, whole, at::kCPU).activations;
  EXPECT_LT(encode_latents(bundle, tiles, at::kCPU).activations, encoded);
  EXPECT_LT(encode_latents(bundle, pictures, at::kCPU).activations, encoded);
  one_step.sample.steps = 1;
  multistep.sample.sampler = one_step.sample.sampler = "dpmpp_2m";
  EXPECT_LT(preview(bundle, one_step, at::kCPU).activations, preview(bundle, multistep, at::kCPU).activations);
}

TEST(Forecast, LeavesTheProcessAsItWas) {
  const auto bundle = backbone::Bundle::open(testing::golden_bundle("nano_bundle"));
  const Work work = work_of({"nano_bundle", 32, 32, 4}, bundle.manifest());
  encode_latents(bundle, work, at::kCPU);
  const at::Tensor meta = at::empty({2}, at::TensorOptions(at::kMeta));
  EXPECT_THROW(meta.cpu(), c10::Error) << "values are not made up outside of a dry run";
  const DryRun run(at::kCPU);
  EXPECT_ERROR(encode_latents(bundle, work, at::kCPU), Error, "a dry run is going on already");
}

}  // namespace
}  // namespace jointtuner::forecast

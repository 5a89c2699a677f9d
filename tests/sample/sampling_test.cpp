#include "jointtuner/sample/sampling.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/interrupt.h"
#include "jointtuner/base/safetensors.h"
#include "jointtuner/diffusion/noise_schedule.h"
#include "jointtuner/diffusion/sampler.h"
#include "jointtuner/media/video_writer.h"
#include "nano_sampling.h"

namespace jointtuner::sample {
namespace {

using adapter::GatePooling;
using testing::TemporaryFolder;

class SamplingTest : public NanoSampling {};
FOR_ALL_FAMILIES(SamplingTest);

TEST_P(SamplingTest, PromptsAndSeedsTogetherEqualEachAloneBitForBit) {
  SampleOptions both = small_options({"a cat", "a dog"});
  both.seeds = {1, 2};
  const std::vector<Tensor> together = latents_of(both, trained());
  ASSERT_EQ(together.size(), 4U);
  for (size_t i = 0; i < together.size(); ++i) {
    SampleOptions alone = small_options({both.prompts[i / 2]});
    alone.seeds = {both.seeds[i % 2]};
    EXPECT_TRUE(at::equal(one(alone, trained()), together[i])) << i;
    for (size_t k = 0; k < i; ++k) EXPECT_FALSE(at::equal(together[k], together[i])) << k << " " << i;
  }
}

TEST_P(SamplingTest, AdapterScale0IsTheFrozenModelBitForBit) {
  const Tensor frozen = one(small_options());
  SampleOptions off = small_options();
  off.adapter_scale = 0;
  EXPECT_TRUE(at::equal(one(off, trained()), frozen));
  if (has_group("spatial")) {
    off.adapter_scale = 1, off.spatial_scale = 0, off.temporal_scale = 0;
    EXPECT_TRUE(at::equal(one(off, trained()), frozen));
  }
  EXPECT_FALSE(at::equal(one(small_options(), trained()), frozen));
}

TEST_P(SamplingTest, ScalesMultiplyAndActOnTheirSites) {
  SampleOptions options = small_options();
  options.adapter_scale = 0.5;
  const inject::AdapterRun how = adapter_run(options, trained(3), program().sites());
  EXPECT_EQ(how.scale, 1.5);  // the trained scale times the asked one
  EXPECT_EQ(how.dropout, 0);
  EXPECT_TRUE(at::equal(one(options, trained(2)), one(small_options(), trained(1))));
  SampleOptions spatial = small_options(), temporal = small_options();
  spatial.temporal_scale = 0, temporal.spatial_scale = 0;
  if (!has_group("spatial")) {
    EXPECT_TRUE(how.group_scale.empty());
    EXPECT_ERROR(one(spatial, trained()), UsageError, "no temporal sites");
    EXPECT_ERROR(one(temporal, trained()), UsageError, "no spatial sites");
    return;
  }
  EXPECT_EQ(how.group_scale, (std::map<std::string, double>{{"spatial", 1}, {"temporal", 1}}));
  const std::vector<Tensor> all = {one(small_options(), trained()), one(spatial, trained()), one(temporal, trained()),
                                   one(small_options())};
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t k = 0; k < i; ++k) EXPECT_FALSE(at::equal(all[i], all[k])) << i << " " << k;
}

TEST_P(SamplingTest, PoolingIsTheTrainedOneUnlessAskedFor) {
  const Tensor by_sample = one(small_options(), trained()),
               by_batch = one(small_options(), trained(1, GatePooling::batch));
  EXPECT_FALSE(at::equal(by_sample, by_batch));  // the batch holds the unconditional half too
  SampleOptions asked = small_options();
  asked.gate_pooling = "batch";
  EXPECT_TRUE(at::equal(one(asked, trained()), by_batch));
  asked.gate_pooling = "sample";
  EXPECT_TRUE(at::equal(one(asked, trained(1, GatePooling::batch)), by_sample));
}

/// The pipeline against the same steps written out: noise of the named generator, the sampler, the program.
TEST_P(SamplingTest, EqualsTheSamplerCalledByHand) {
  SampleOptions options = small_options();
  options.guidance = 1;
  options.seeds = {9};
  const backbone::Manifest& manifest = bundle().manifest();
  const TemporaryFolder folder;
  Sampling sampling(bundle(), at::kCPU, options);
  const auto videos = sampling.denoise(program(), {}, folder.path());
  const Tensor found = load_latents(folder / (videos.at(0).name + std::string(kLatentsEnding))).latents;

  const c10::NoGradGuard no_grad;
  const Tensor prompt = backbone::TextEncoder(bundle(), at::kCPU).encode("a cat");
  const auto model = [&](const Tensor& latents, int64_t t) {
    return diffusion::DenoiserOutput{{}, program().run(latents, at::full({1}, t, at::kLong), prompt, nullptr)};
  };
  diffusion::SamplerSettings settings;
  settings.steps = 2;
  settings.noise = [&](int64_t step) {
    return normal_draw(noise_shape(), generator(9, 0, fmt::format("sampler/{}", step)));
  };
  const Tensor expected = diffusion::sample(diffusion::parse_sampler(manifest.schedule.default_sampler),
                                            diffusion::NoiseSchedule(manifest.schedule), model,
                                            normal_draw(noise_shape(), generator(9, 0, "latents")), settings);
  EXPECT_TRUE(at::equal(found, expected.narrow(2, noise_shape()[2] - latent_frames(), latent_frames())));
}

TEST_P(SamplingTest, EverySettingOfTheSamplerActs) {
  const Tensor plain = one(small_options());
  const auto differs = [&](const char* what, auto&& change) {
    SampleOptions options = small_options();
    change(options);
    EXPECT_FALSE(at::equal(one(options), plain)) << what;
  };
  differs("guidance", [](auto& o) { o.guidance = 4; });
  differs("negative prompt", [](auto& o) { o.negative_prompt = "a dog"; });
  differs("guidance schedule", [](auto& o) { o.guidance_schedule = "dynamic"; });
  const std::string usual = bundle().manifest().schedule.default_sampler;
  for (const char* sampler : {"ddim", "dpmpp_2m", "dpmpp_2m_sde"}) {
    const bool solvable = std::string_view(sampler) != "dpmpp_2m" || !bundle().manifest().schedule.rescale_zero_snr;
    if (sampler != usual && solvable) differs(sampler, [&](auto& o) { o.sampler = sampler; });
  }
  SampleOptions stochastic = small_options();
  stochastic.sampler = "ddim";
  const Tensor plain_ddim = one(stochastic);
  stochastic.eta = 1;
  const Tensor noisy = one(stochastic);
  EXPECT_FALSE(at::equal(noisy, plain_ddim));
  EXPECT_TRUE(at::equal(noisy, one(stochastic)));  // its noise has a seed too
}

TEST_P(SamplingTest, InitialLatentsReplaceTheNoise) {
  const TemporaryFolder folder;
  const fs::path file = folder / "noise.safetensors";
  SampleOptions options = small_options();
  options.sampler = "ddim";  // no noise but the initial one
  options.seeds = {4};
  const auto write = [&](const Tensor& noise) { save_safetensors(file, {{{"latents", noise}}, {}}); };
  write(initial_noise(noise_shape(), 4));
  const Tensor drawn = one(options);
  EXPECT_TRUE(at::equal(latents_of(options, {}, file).at(0), drawn));
  options.seeds = {5};  // the noise is the file's
  EXPECT_TRUE(at::equal(latents_of(options, {}, file).at(0), drawn));
  write(initial_noise(noise_shape(), 6));
  EXPECT_FALSE(at::equal(latents_of(options, {}, file).at(0), drawn));
  std::vector<int64_t> longer = noise_shape();
  longer[2] += 1;
  write(at::zeros(longer));
  EXPECT_ERROR(Sampling(bundle(), at::kCPU, options, file), Error, file.string(),
               fmt::format("latents for {} frames of {}x{} px", options.frames, options.width, options.height).c_str());
}

TEST_P(SamplingTest, NoisePrior) {
  const TemporaryFolder folder;
  SampleOptions options = small_options();
  options.sampler = "ddim";  // no noise but the initial one
  const Tensor plain = one(options);
  options.noise_prior_video = (folder / "motion.mp4").string();
  media::write_mp4(options.noise_prior_video,
                   normal_draw({12, 32, 48, 3}, generator(2, 0, "video")).mul(60).add(128).clamp(0, 255).to(at::kByte),
                   8);
  EXPECT_ERROR(one(options), UsageError, "noise_prior_strength", "expected a number above 0");
  options.noise_prior_strength = 0.5;
  const Tensor half = one(options);
  EXPECT_FALSE(at::equal(half, plain));
  options.noise_prior_strength = 1;  // nothing is left of the noise: seeds make no difference
  options.seeds = {1, 2};
  const std::vector<Tensor> whole = latents_of(options);
  EXPECT_TRUE(at::equal(whole.at(0), whole.at(1)));
  options.noise_prior_video = (folder / "absent.mp4").string();
  EXPECT_ERROR(Sampling(bundle(), at::kCPU, options), Error, "absent.mp4");
}

TEST_P(SamplingTest, ASecondCallKeepsFinishedLatentsAndMakesTheMissing) {
  const TemporaryFolder folder;
  const SampleOptions options = small_options({"a cat", "a dog"});
  const auto videos = denoise_into(folder.path(), options, trained());
  const fs::path first = folder / (videos.at(0).name + std::string(kLatentsEnding));
  const fs::path second = folder / (videos.at(1).name + std::string(kLatentsEnding));
  const std::string bytes = read_file(second);
  fs::remove(second);
  const fs::path leftover = folder / "001_a_dog_s0.latents.partial-999999999-1.safetensors";
  std::ofstream(leftover) << "half";
  const auto made = fs::last_write_time(first);
  denoise_into(folder.path(), options, trained());
  EXPECT_EQ(fs::last_write_time(first), made);
  EXPECT_EQ(read_file(second), bytes);
  EXPECT_FALSE(fs::exists(leftover));  // of a process that was killed
}

TEST_P(SamplingTest, LatentsOfOtherSettingsAreNeitherUsedNorOverwritten) {
  const TemporaryFolder folder;
  const auto videos = denoise_into(folder.path(), small_options(), trained());
  const fs::path file = folder / (videos.at(0).name + std::string(kLatentsEnding));
  const std::string bytes = read_file(file);
  SampleOptions other = small_options();
  other.steps = 3;
  EXPECT_ERROR(denoise_into(folder.path(), other, trained()), Error, file.string(), "steps 2 there, 3 here",
               "--output");
  EXPECT_ERROR(denoise_into(folder.path(), small_options()), Error, "adapter");
  EXPECT_ERROR(denoise_into(folder.path(), small_options(), trained(2)), Error, "adapter");
  adapter::AdapterSet moved = adapters().clone(at::kCPU);
  moved.flat().add_(1e-3);
  NamedAdapter named = trained();
  named.adapters = &moved;
  EXPECT_ERROR(denoise_into(folder.path(), small_options(), named), Error, "adapter", "values_sha256");
  EXPECT_EQ(read_file(file), bytes);
}

TEST_P(SamplingTest, AFolderOfAnotherSamplingIsRefused) {
  const TemporaryFolder folder;
  denoise_into(folder.path(), small_options({"a cat", "a dog"}));
  const auto check = [&](const SampleOptions& options, int64_t count) {
    Sampling(bundle(), at::kCPU, options).check_folder(folder.path(), count);
  };
  EXPECT_NO_THROW(check(small_options({"a cat", "a dog"}), 1));
  EXPECT_ERROR(check(small_options({"a cat"}), 1), Error, "001_a_dog_s0", "another sampling", "--output");
  EXPECT_NO_THROW(check(small_options({"a cat", "a dog"}), 2));  // two adapters: 002 and 003 are still to come
  std::ofstream(folder / "file") << "x";
  EXPECT_ERROR(Sampling(bundle(), at::kCPU, small_options()).check_folder(folder / "file", 1), Error, "found a file");
  EXPECT_NO_THROW(Sampling(bundle(), at::kCPU, small_options()).check_folder(folder / "absent", 1));
}

TEST_P(SamplingTest, SettingsAreKeptWithTheLatents) {
  const TemporaryFolder folder;
  SampleOptions options = small_options({" a cat "});
  options.negative_prompt = "blur";
  const Video video = denoise_into(folder.path(), options, trained(2)).at(0);
  EXPECT_EQ(video.name, "000_a_cat_s0");
  EXPECT_EQ(video.label, "step 5");
  const auto settings =
      nlohmann::json::parse(load_latents_header(folder / (video.name + std::string(kLatentsEnding))).settings);
  EXPECT_EQ(settings, nlohmann::json::parse(video.settings));
  EXPECT_EQ(settings["prompt"], "a cat");
  EXPECT_EQ(settings["negative_prompt"], "blur");
  EXPECT_EQ(settings["sampler"], bundle().manifest().schedule.default_sampler);
  EXPECT_EQ(settings["guidance_schedule"], "constant");
  EXPECT_EQ(settings["gate_pooling"], "sample");
  EXPECT_EQ(settings["adapter"]["scale"], 2);
  EXPECT_EQ(settings["adapter"]["step"], 5);
  EXPECT_EQ(settings["backbone"]["denoiser_sha256"], bundle().sha256("denoiser.pt"));
  EXPECT_EQ(settings["device"], "cpu");
  EXPECT_TRUE(settings["noise_prior"].is_null());
}

TEST_P(SamplingTest, AdaptersOfTenSitesOnlyAreRefused) {
  std::vector<adapter::Site> ten(program().sites().begin(), program().sites().begin() + 10);
  const adapter::AdapterSet few(ten, 2, true, at::kCPU);
  NamedAdapter named = trained();
  named.adapters = &few;
  EXPECT_ERROR(one(small_options(), named), Error, "other sites");
}

TEST_P(SamplingTest, APromptThatIsTooLongIsRefusedBeforeAnythingIsSampled) {
  std::string words;
  for (int i = 0; i < 130; ++i) words += "many words ";
  EXPECT_ERROR(Sampling(bundle(), at::kCPU, small_options({"a cat", words})), Error, "many words", "token");
  SampleOptions options = small_options();
  options.negative_prompt = words;
  EXPECT_ERROR(Sampling(bundle(), at::kCPU, options), Error, "many words");
  options.guidance = 1;  // the negative prompt is not asked for
  EXPECT_NO_THROW(Sampling(bundle(), at::kCPU, options));
}

TEST_P(SamplingTest, LatentsThatAreNotFiniteAreAnErrorAndNotSaved) {
  adapter::AdapterSet broken = adapters().clone(at::kCPU);
  broken.flat().fill_(1e30);
  NamedAdapter named = trained();
  named.adapters = &broken;
  const TemporaryFolder folder;
  EXPECT_ERROR(denoise_into(folder.path(), small_options(), named), Error, "seed 0", "not finite");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

/// Ctrl-C stays pressed for the rest of a process, so this one ends.
void interrupted_sampling(const backbone::Bundle& bundle, const inject::GraphProgram& program,
                          const SampleOptions& options, const fs::path& folder) {
  install_interrupt_handler();
  Sampling sampling(bundle, at::kCPU, options);
  std::raise(SIGINT);
  try {
    sampling.denoise(program, {}, folder);
  } catch (const Interrupted& stopped) {
    std::fprintf(stderr, "%s", stopped.what());
    std::_Exit(7);
  }
  std::_Exit(0);
}

TEST_P(SamplingTest, CtrlCStopsAndSaysHowToGoOn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own, not a fork of one with threads
  const TemporaryFolder folder;
  EXPECT_EXIT(interrupted_sampling(bundle(), program(), small_options(), folder.path()), ::testing::ExitedWithCode(7),
              "stopped while sampling, 0 videos done.*--output .*jointtuner-test");
}

}  // namespace
}  // namespace jointtuner::sample

// sample and decode on the stand-in: the CPU's videos, and no step that waits for the device.
#include "jointtuner/sample/sampling.h"

#include <c10/core/GradMode.h>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/media/video_writer.h"
#include "jointtuner/sample/latents_file.h"
#include "jointtuner/sample/settings.h"
#include "on_both.h"
#include "support/temporary_folder.h"

namespace jointtuner::sample {
namespace {

namespace fs = std::filesystem;
using testing::Backbone;
using testing::stand_in;
using testing::taken_traffic;
using testing::TemporaryFolder;
using testing::Traffic;

class SamplingOnBoth : public testing::OnBoth {
 protected:
  SampleOptions options(const std::string& sampler = "ddim") const {
    SampleOptions o;
    o.prompts = {"a cat"};
    o.sampler = sampler;
    o.steps = 2;
    o.guidance = 3;
    o.guidance_schedule = "constant";
    o.frames = GetParam().frames;
    o.height = GetParam().height;
    o.width = GetParam().width;
    o.fps = 8;
    return o;
  }

  static NamedAdapter adapter(const Backbone& backbone) {
    NamedAdapter named;
    named.label = "step 5";
    named.adapters = &backbone.adapters;
    named.metadata.rank = 2;
    return named;
  }

  /// The whole of sample: latents, videos and sheet in FOLDER.
  static std::vector<Video> sampled(at::Device device, const SampleOptions& o, const fs::path& folder) {
    const Backbone& backbone = loaded(device);
    Sampling sampling(backbone.bundle, device, o);
    const std::vector<Video> videos = sampling.denoise(backbone.program, adapter(backbone), folder);
    sampling.decode(folder, videos);
    return videos;
  }

  void expect_the_cpus_videos(const SampleOptions& o) {
    const TemporaryFolder folder;
    const std::vector<Video> videos = sampled(at::kCPU, o, folder / "cpu");
    sampled(stand_in(), o, folder / "stand_in");
    ASSERT_FALSE(videos.empty());
    for (const Video& video : videos) {
      const std::string name = video.name + std::string(kLatentsEnding);
      EXPECT_LT(testing::distance(load_latents(folder / "stand_in" / name).latents,
                                  load_latents(folder / "cpu" / name).latents),
                testing::kRounding);
      EXPECT_TRUE(fs::exists(folder / "stand_in" / (video.name + ".mp4")));
    }
    EXPECT_TRUE(fs::exists(folder / "stand_in/sheet.png"));
  }

  /// What a video of so many steps makes go between host and device.
  Traffic traffic(SampleOptions o, int64_t steps) const {
    const Backbone& backbone = loaded(stand_in());
    o.steps = steps;
    const backbone::Manifest& manifest = backbone.bundle.manifest();
    const Tensor prompt = at::zeros({1, manifest.text.max_length, manifest.text.embedding_width});
    const DenoiseInputs inputs{initial_noise(backbone::latents_shape(manifest, video_size(o)), 1), prompt, prompt, 1};
    taken_traffic();
    denoise({backbone.program, stand_in(), manifest.schedule, adapter(backbone)}, inputs, o, [](int64_t) {});
    return taken_traffic();
  }
};
FOR_ALL_FAMILIES(SamplingOnBoth);

TEST_P(SamplingOnBoth, EverySamplerGivesTheCpusVideos) {
  for (const char* sampler : {"ddim", "dpmpp_2m", "dpmpp_2m_sde"}) {
    SCOPED_TRACE(sampler);
    expect_the_cpus_videos(options(sampler));
  }
}

TEST_P(SamplingOnBoth, TilesSlicesNoiseAndNoGuidanceGiveTheCpusVideos) {
  SampleOptions o = options();
  o.eta = 0.5;
  o.guidance = 1;
  o.decode_slice = 1;
  o.decode_tile = 16;
  o.gate_pooling = "batch";
  expect_the_cpus_videos(o);
}

TEST_P(SamplingOnBoth, ANoisePriorIsEncodedAndInvertedAlike) {
  const TemporaryFolder folder;
  SampleOptions o = options();
  const std::vector<int64_t> shape = {o.frames, o.height, o.width, 3};
  media::write_mp4(folder / "prior.mp4", uniform_draw(shape, generator(1, 0, "prior")).mul(255).to(at::kByte), 8);
  o.noise_prior_video = folder / "prior.mp4";
  o.noise_prior_strength = 0.5;
  expect_the_cpus_videos(o);
}

TEST_P(SamplingOnBoth, SavedLatentsDecodeAlike) {
  const TemporaryFolder folder;
  const std::vector<Video> videos = sampled(at::kCPU, options(), folder / "cpu");
  const std::string name = videos.at(0).name;
  decode_latents_file(loaded(stand_in()).bundle, stand_in(), folder / "cpu" / (name + std::string(kLatentsEnding)),
                      folder / "again.mp4", options());
  EXPECT_EQ(read_file(folder / "again.mp4"), read_file(folder / "cpu" / (name + ".mp4")));
}

/// Whatever the number of steps, the host waits once: for the finished latents.
TEST_P(SamplingOnBoth, NoStepWaitsForTheDevice) {
  for (const char* sampler : {"ddim", "dpmpp_2m", "dpmpp_2m_sde"}) {
    SampleOptions o = options(sampler);
    if (o.sampler == "ddim") o.eta = 1;  // noise in each step, but the last
    for (const int64_t steps : {2, 5}) {
      const Traffic counted = traffic(o, steps);
      EXPECT_EQ(counted.waits.size(), 1U) << sampler << " with " << steps << " steps\n" << testing::waits_text(counted);
      EXPECT_EQ(counted.copies_out, 1);
    }
  }
}

}  // namespace
}  // namespace jointtuner::sample

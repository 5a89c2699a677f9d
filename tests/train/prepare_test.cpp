#include "jointtuner/train/prepare.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "fake_run.h"
#include "jointtuner/backbone/autoencoder.h"
#include "jointtuner/backbone/text_encoder.h"
#include "jointtuner/base/pixels.h"
#include "jointtuner/data/pixels.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

namespace {

namespace fs = std::filesystem;
using backbone::Bundle;

Tensor pixels(at::IntArrayRef shape, int64_t offset) { return ((formula(shape, offset) + 0.5) * 255).to(at::kByte); }

/// A picture, a clip and a copy of the nano bundle in a folder of their own.
struct Project {
  Project() {
    fs::create_directories(folder / "media");
    fs::copy(testing::golden_bundle("nano_bundle"), folder / "bundle", fs::copy_options::recursive);
    media::write_png(folder / "media" / "dog.png", pixels({40, 48, 3}, 1));
    media::write_mp4(folder / "media" / "walk.mp4", pixels({8, 40, 48, 3}, 2), 8);
    options.images = {{.path = folder / "media" / "dog.png", .caption = "a dog"}};
    options.videos = {{.path = folder / "media" / "walk.mp4", .caption = "a person walks"}};
    options.height = 24;
    options.width = 32;
    options.frames = 4;
    options.fps = 8;
    options.clips_per_video = 2;
    options.cache = folder / "cache";
  }
  Bundle bundle() const { return Bundle::open(folder / "bundle", backbone::Verify::sizes); }

  testing::TemporaryFolder folder;
  data::DataOptions options;
};

backbone::Manifest manifest() {
  backbone::Manifest manifest;
  manifest.latents.spatial_compression = 8;
  manifest.latents.temporal_compression = 4;
  manifest.denoiser.height_multiple = 2;
  manifest.denoiser.width_multiple = 1;
  return manifest;
}

}  // namespace

TEST(Prepare, EncodesEveryDrawAndCaption) {
  const Project project;
  const auto items = data::list_items(project.options).items;
  const PreparedData prepared = prepare(items, project.options, project.bundle(), at::kCPU);
  const backbone::Autoencoder autoencoder(project.bundle(), at::kCPU);
  for (const data::ItemDraw& draw : data::all_draws(items, project.options.image_flip)) {
    const Posterior& posterior = prepared.posterior(draw);
    const int64_t frames = draw.item == 0 ? 1 : 4;
    EXPECT_EQ(posterior.mean.sizes(), (std::vector<int64_t>{frames, 4, 12, 16}));
    const Tensor frames_used =
        to_pixels(data::load_frames(items[static_cast<size_t>(draw.item)], draw, project.options));
    EXPECT_TRUE(at::equal(posterior.mean, autoencoder.encode(frames_used).mean));
    EXPECT_TRUE(at::equal(posterior.std, autoencoder.encode(frames_used).std));
  }
  const backbone::TextEncoder text(project.bundle(), at::kCPU);
  EXPECT_TRUE(at::equal(prepared.embedding({.item = 0}), text.encode("a dog")));
  EXPECT_TRUE(at::equal(prepared.embedding({.item = 1}), text.encode("a person walks")));
}

TEST(Prepare, WarmCachesNeedNoModelAndNoMedia) {
  const Project project;
  const auto items = data::list_items(project.options).items;
  const Bundle bundle = project.bundle();
  const PreparedData cold = prepare(items, project.options, bundle, at::kCPU);
  fs::remove(project.folder / "bundle" / "autoencoder.pt");
  fs::remove(project.folder / "bundle" / "text_encoder.pt");
  fs::remove_all(project.folder / "media");
  const PreparedData warm = prepare(items, project.options, bundle, at::kCPU);
  for (const data::ItemDraw& draw : data::all_draws(items, project.options.image_flip)) {
    EXPECT_TRUE(at::equal(warm.posterior(draw).mean, cold.posterior(draw).mean));
    EXPECT_TRUE(at::equal(warm.posterior(draw).std, cold.posterior(draw).std));
    EXPECT_TRUE(at::equal(warm.embedding(draw), cold.embedding(draw)));
  }
}

TEST(Prepare, NamesTheItemOfACaptionThatIsTooLong) {
  Project project;
  for (int word = 0; word < 200; ++word) project.options.images[0].caption += " dog";
  const auto items = data::list_items(project.options).items;
  EXPECT_ERROR(prepare(items, project.options, project.bundle(), at::kCPU), Error, "dog.png", "16");
}

TEST(Sizes, NamesTheNearestThatAreAllowed) {
  data::DataOptions options;
  options.images = {{}};
  options.height = 24;
  options.width = 8;
  options.frames = 16;  // of no importance without videos
  EXPECT_ERROR(check_sizes(options, manifest()), UsageError, "data.height", "24", "multiples of 16", "16 or 32");
  options.height = 32;
  check_sizes(options, manifest());
  options.videos = {{}};
  EXPECT_ERROR(check_sizes(options, manifest()), UsageError, "data.frames", "16", "use 13 or 17");
  options.frames = 17;
  check_sizes(options, manifest());
}

}  // namespace jointtuner::train

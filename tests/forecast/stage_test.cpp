#include <gtest/gtest.h>
#include "jointtuner/forecast/stage.h"
#include "jointtuner/sample/settings.h"
#include "support/families.h"
#include <fmt/format.h>
using namespace jointtuner;
TEST(Stage, Prints) {
  for (const auto& family : jointtuner::testing::families()) {
    const auto bundle = backbone::Bundle::open(family.bundle);
    forecast::Work work;
    work.adapter.rank = 2;
    work.data.height = family.height; work.data.width = family.width; work.data.frames = family.frames;
    work.data.images.resize(1); work.data.videos.resize(1);
    work.sample.prompts = {"x"}; work.sample.height=family.height; work.sample.width=family.width; work.sample.frames=family.frames;
    work.sample = sample::resolved(work.sample, bundle.manifest());
    for (const forecast::Stage& s : {forecast::encode_text(bundle, at::kCPU), forecast::encode_latents(bundle, work, at::kCPU), forecast::train(bundle, work, at::kCPU), forecast::preview(bundle, work, at::kCPU), forecast::decode(bundle, work, at::kCPU)})
      fmt::print("{} {}: weights {} adapters {} activations {} rounding {}\n", family.name, s.name, s.weights, s.adapters, s.activations, s.rounding);
  }
}

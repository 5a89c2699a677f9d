// What a run minimises: the `loss` section of a run config.
#pragma once

#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::diffusion {

struct LossOptions {
  std::string video = "ait";
  double video_weight = 10.0;
  double image_weight = 1.0;
  double shift_strength = 1.0;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("video", o.video, "loss of a video: ait = appearance-independent temporal loss; diffusion = plain loss",
          Choices{"ait", "diffusion"});
    field("video_weight", o.video_weight, "factor on the loss of a video", Range{0, 1e6});
    field("image_weight", o.image_weight, "factor on the loss of an image", Range{0, 1e6});
    field("shift_strength", o.shift_strength,
          "strength of the random prediction shift of the ait loss; 0 gives the plain loss", Range{0, 1e3});
  }
};

}  // namespace jointtuner::diffusion

// What a run may choose about its training losses.
#pragma once
#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::diffusion {

struct LossOptions {
  std::string video = "ait";
  double video_weight = 10;
  double image_weight = 1;
  double shift_strength = 1;
  double video_timestep_shift = 1;
  double image_timestep_shift = 1;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("video", o.video,
          "loss of a video: ait (appearance-independent temporal) or diffusion (plain mean squared error)",
          Choices{"ait", "diffusion"});
    field("video_weight", o.video_weight, "factor of a video's loss (published: 10 for ZeroScope, 1 for CogVideoX)",
          Range{0, kUnbounded});
    field("image_weight", o.image_weight, "factor of an image's loss", Range{0, kUnbounded});
    field("shift_strength", o.shift_strength, "strength of the AiT loss's prediction shift; 0 gives the plain loss",
          Range{0, kUnbounded});
    field("video_timestep_shift", o.video_timestep_shift,
          "moves the timesteps that videos are trained at towards noise, where motion is decided: 1 keeps them uniform "
          "(published), 3 puts half of them into the noisiest quarter",
          Range{0.01, 100});
    field("image_timestep_shift", o.image_timestep_shift, "the same for the timesteps that images are trained at",
          Range{0.01, 100});
  }
};

}  // namespace jointtuner::diffusion

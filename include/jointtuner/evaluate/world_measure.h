// Exact metrics of videos of the sprite world (world.h): where the one sprite is, what it is, how it moves, on what.
//
// A pixel belongs to the sprite by its largest channel: cover = clamp((max - 0.45) / 0.35, 0, 1), 0 on every background
// and 1 on every sprite colour. Position and size are moments of the cover, so each shape is fitted in closed form: a
// shape of area A r^2 and centroid c r fits at r = sqrt(area / A), centre = centroid - c r.
#pragma once
#include <map>
#include <optional>

#include "jointtuner/evaluate/world.h"

namespace jointtuner::evaluate::world {

struct Measured {
  int64_t whole_frames = 0;        ///< frames with exactly one sprite (6 pixels or more; what is 2 pixels apart is one)
  std::optional<Subject> subject;  ///< nullopt: no sprite in any frame, or none of the textures' colours can be told
  double iou = 0;          ///< soft intersection over union with the best shape, mean over the frames with a sprite
  std::string background;  ///< the nearest to the median of the ground; "" when all is sprite
  std::string motion;      ///< the nearest; "" with a sprite in fewer than three frames
  std::map<std::string, double> motion_distance_px;  ///< RMS over frames, see motion_distance_px()
};

/// video: float32 [F,3,32,32] in 0..1, CPU. Throws Error for another shape or dtype.
Measured measure(const Tensor& video);

/// float64 [F,3]: centroid x and y and the radius of the disc of the cover's area, in pixels; NaN where less than 12
/// pixels are covered.
Tensor sprite_track(const Tensor& video);

/// RMS distance in pixels between the track and the motion's path, both centred, at the best amplitude of 0.7..1.35;
/// the third coordinate is 8 log(radius). A frame without a sprite counts 8 pixels; fewer than three seen frames are 8.
double motion_distance_px(const Tensor& track, std::string_view motion);

/// What a video was asked to be, and what must not have leaked into it.
struct Asked {
  Subject subject;
  std::string motion, background;
  std::vector<Subject> reference_subjects;         ///< the sprites of the reference videos
  std::vector<std::string> reference_backgrounds;  ///< of reference videos and pictures
};

/// All in 0..1.
struct Scores {
  double appearance = 0;  ///< mean over frames of max(0, 1 - e / 0.3), e the mean colour difference from the subject
                          ////< drawn where it fits, over the union of both; 0 for a frame without a sprite
  double motion = 0;      ///< exp(-(distance / 1.5 px)^2)
  double contamination =
      0;                 ///< the larger of: share of sprite pixels nearest to a colour of a reference video's sprite
                         ////< that the subject does not have; share of ground nearest to a reference's background
                         ////< that was not asked for
  double text = 0;       ///< share of the ground nearest to the asked background
  double validity = 0;   ///< share of frames with exactly one sprite
  double joint() const;  ///< harmonic mean of appearance, motion and 1 - contamination; 0 when one of them is 0
};

/// Throws as measure(), and Error for a name that the world does not have.
Scores scores(const Tensor& video, const Asked& asked);

}  // namespace jointtuner::evaluate::world

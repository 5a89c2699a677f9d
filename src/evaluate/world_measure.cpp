#include "jointtuner/evaluate/world_measure.h"

#include <ATen/Functions.h>
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <opencv2/imgproc.hpp>
#include <set>

#include "jointtuner/base/error.h"

namespace jointtuner::evaluate::world {
namespace {

constexpr double kSeen_px2 = 12;
constexpr double kMissing_px = 8;
constexpr int64_t kFewestFrames = 3;  // with a sprite, for a motion to be told
constexpr double kSizeWeight_px = 8;
constexpr double kMotionScale_px = 1.5;
constexpr double kColourScale = .3;  // about what two subjects drawn at random differ by

void check_video(const Tensor& video) {
  if (!video.defined() || video.dim() != 4 || video.size(0) < 1 || video.size(1) != 3 || video.size(2) != kSize_px ||
      video.size(3) != kSize_px || video.scalar_type() != at::kFloat || !video.is_cpu()) {
    throw Error(fmt::format("the sprite world is measured in float32 [F,3,{0},{0}] on the CPU; found {1} {2}", kSize_px,
                            video.defined() ? toString(video.scalar_type()) : "nothing",
                            video.defined() ? fmt::format("[{}]", fmt::join(video.sizes(), ",")) : ""));
  }
}

/// [F,32,32]
Tensor cover_of(const Tensor& video) { return ((video.amax(1) - .45) / .35).clamp(0, 1); }

struct Moments {
  double area, low;  ///< area / r^2; the centroid's y / r (x is 0 by symmetry)
};

Moments moments(std::string_view shape) {
  static const std::map<std::string_view, Moments> all = [] {
    std::map<std::string_view, Moments> result;
    const Tensor axis = (at::arange(1200, at::kDouble) + .5) / 400 - 1.5;
    for (const std::string_view name : shapes()) {
      const Tensor inside =
          (shape_distance(name, axis.view({1, -1}).expand({1200, -1}), axis.view({-1, 1}).expand({-1, 1200})) < 0)
              .to(at::kDouble);
      const double count = inside.sum().item<double>();
      result[name] = {count / (400 * 400), (inside * axis.view({-1, 1})).sum().item<double>() / count};
    }
    return result;
  }();
  return all.at(shape);
}

/// Where a sprite of that shape is drawn for these moments: [F,3].
Tensor fitted(std::string_view shape, const Tensor& track) {
  const auto [area, low] = moments(shape);
  const Tensor radius = track.select(1, 2) * std::sqrt(std::numbers::pi / area);
  return at::stack({track.select(1, 0), track.select(1, 1) - low * radius, radius}, 1);
}

double overlap(const Tensor& cover, std::string_view shape, const Tensor& track) {
  const Tensor drawn = cover_of(draw({std::string(shape), "plain", "white", "white"}, "black", fitted(shape, track)));
  return (at::minimum(cover, drawn).sum({1, 2}) / at::maximum(cover, drawn).sum({1, 2})).mean().item<double>();
}

Tensor table(const std::vector<Colour>& colours) {
  Tensor result = at::empty({static_cast<int64_t>(colours.size()), 3}, at::kFloat);
  for (size_t i = 0; i < colours.size(); ++i)
    for (int64_t c = 0; c < 3; ++c) result[static_cast<int64_t>(i)][c] = colours[i].rgb[static_cast<size_t>(c)];
  return result;
}

/// [N] index of the nearest colour for pixels [N,3].
Tensor nearest(const Tensor& pixels, const std::vector<Colour>& colours) {
  return (pixels.unsqueeze(1) - table(colours).unsqueeze(0)).square().sum(2).argmin(1);
}

std::string_view nearest_name(const Tensor& pixel, const std::vector<Colour>& colours) {
  return colours[static_cast<size_t>(nearest(pixel.view({1, 3}), colours).item<int64_t>())].name;
}

/// [N,3] of the pixels where mask [F,32,32] is set.
Tensor pixels_where(const Tensor& video, const Tensor& mask) { return video.permute({0, 2, 3, 1}).index({mask}); }

/// [N,3]: pixels of the ground, none of them beside the sprite, where a blend with it may look like another ground.
Tensor ground_of(const Tensor& video, const Tensor& cover) {
  return pixels_where(video, at::max_pool2d(cover.unsqueeze(1), {3, 3}, {1, 1}, {1, 1}).squeeze(1) == 0);
}

int64_t sprites_in(const Tensor& cover) {
  const Tensor bytes = (cover > .5).to(at::kByte).contiguous();
  const cv::Mat mask(static_cast<int>(kSize_px), static_cast<int>(kSize_px), CV_8U, bytes.data_ptr<uint8_t>());
  cv::Mat grown, labels;
  cv::dilate(mask, grown, cv::Mat::ones(3, 3, CV_8U));
  const int count = cv::connectedComponents(grown, labels, 8);
  int64_t sprites = 0;
  for (int label = 1; label < count; ++label) sprites += cv::countNonZero((labels == label) & (mask != 0)) >= 6;
  return sprites;
}

int64_t whole_frames(const Tensor& cover) {
  int64_t count = 0;
  for (int64_t f = 0; f < cover.size(0); ++f) count += sprites_in(cover[f]) == 1;
  return count;
}

/// The texture and colours that explain the sprite's core with the least difference.
std::optional<Subject> subject_of(const Tensor& video, const Tensor& cover, std::string_view shape,
                                  const Tensor& track) {
  std::optional<Subject> best;
  double least = std::numeric_limits<double>::infinity();
  const Tensor core = cover > .95;
  const Tensor places = fitted(shape, track);
  for (const std::string_view texture : textures()) {
    const Tensor parts = draw({std::string(shape), std::string(texture), "red", "blue"}, "black", places);
    const Tensor second = parts.select(1, 2) > parts.select(1, 0);
    std::vector<std::string> names;
    double difference = 0;
    for (const Tensor& part : {core & second.logical_not(), core & second}) {
      const Tensor pixels = pixels_where(video, part);
      if (pixels.size(0) == 0) continue;
      const int64_t index = nearest(pixels.mean(0, true), sprite_colours()).item<int64_t>();
      names.emplace_back(sprite_colours()[static_cast<size_t>(index)].name);
      difference += (pixels - table(sprite_colours())[index]).abs().sum().item<double>();
    }
    const size_t colours = std::set<std::string>(names.begin(), names.end()).size();
    if (colours == (texture == "plain" ? 1U : 2U) && difference < least) {
      least = difference;
      best = Subject{std::string(shape), std::string(texture), names.front(), names.back()};
    }
  }
  return best;
}

double appearance_of(const Tensor& video, const Tensor& cover, const Tensor& track, const Subject& subject,
                     std::string_view background) {
  const Tensor drawn = draw(subject, background, fitted(subject.shape, track));
  const Tensor either = at::maximum(cover, cover_of(drawn));
  const Tensor difference = ((video - drawn).abs().mean(1) * either).sum({1, 2}) / either.sum({1, 2});
  return (1 - difference / kColourScale).clamp_min(0).sum().item<double>();
}

std::set<std::string_view> colours_of(const std::vector<Subject>& subjects) {
  std::set<std::string_view> names;
  for (const Subject& subject : subjects) names.insert({subject.first, subject.second});
  return names;
}

/// Share of the pixels [N,3] whose nearest colour's name passes.
template <typename Passes>
double share(const Tensor& pixels, const std::vector<Colour>& colours, const Passes& passes) {
  if (pixels.size(0) == 0) return 0;
  const Tensor counts = at::bincount(nearest(pixels, colours), {}, static_cast<int64_t>(colours.size()));
  int64_t passed = 0;
  for (size_t i = 0; i < colours.size(); ++i)
    if (passes(colours[i].name)) passed += counts[static_cast<int64_t>(i)].item<int64_t>();
  return static_cast<double>(passed) / static_cast<double>(pixels.size(0));
}

void check_names(const Asked& asked) {
  const Tensor nowhere = at::full({1, 3}, 16., at::kDouble);
  draw(asked.subject, asked.background, nowhere);
  motion_path(asked.motion, 2);
  for (const Subject& subject : asked.reference_subjects) draw(subject, "black", nowhere);
  for (const std::string& background : asked.reference_backgrounds)
    draw({"circle", "plain", "red", "red"}, background, nowhere);
}

}  // namespace

Tensor sprite_track(const Tensor& video) {
  check_video(video);
  const Tensor axis = at::arange(kSize_px, at::kDouble) + .5;
  const Tensor cover = cover_of(video).to(at::kDouble);
  const Tensor area = cover.sum({1, 2});
  const Tensor track = at::stack(
      {(cover.sum(1) * axis).sum(1) / area, (cover.sum(2) * axis).sum(1) / area, (area / std::numbers::pi).sqrt()}, 1);
  return track.masked_fill((area < kSeen_px2).unsqueeze(1), std::numeric_limits<double>::quiet_NaN());
}

double motion_distance_px(const Tensor& track, std::string_view motion) {
  const Tensor path = motion_path(motion, track.size(0));
  const Tensor seen = track.select(1, 0).isnan().logical_not();
  const int64_t count = seen.sum().item<int64_t>();
  if (count < kFewestFrames) return kMissing_px;
  const auto centred = [&](const Tensor& t, double amplitude) {
    const Tensor part = t.index({seen});
    const Tensor size = kSizeWeight_px * part.slice(1, 2).clamp_min(.2).log();
    const Tensor all = at::cat({part.slice(1, 0, 2) * amplitude, size}, 1);
    return all - all.mean(0);
  };
  const Tensor have = centred(track, 1);
  double best = std::numeric_limits<double>::infinity();
  for (int step = 0; step <= 13; ++step)
    best = std::min(best, (have - centred(path, .7 + .05 * step)).square().sum(1).mean().item<double>());
  const auto frames = static_cast<double>(track.size(0)), known = static_cast<double>(count);
  return std::sqrt((best * known + kMissing_px * kMissing_px * (frames - known)) / frames);
}

Measured measure(const Tensor& video) {
  const Tensor track = sprite_track(video);
  const Tensor cover = cover_of(video);
  Measured result;
  result.whole_frames = whole_frames(cover);
  for (const std::string_view motion : motions())
    result.motion_distance_px[std::string(motion)] = motion_distance_px(track, motion);
  const Tensor seen = track.select(1, 0).isnan().logical_not();
  if (seen.sum().item<int64_t>() >= kFewestFrames)
    result.motion = std::min_element(result.motion_distance_px.begin(), result.motion_distance_px.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; })
                        ->first;
  if (const Tensor ground = ground_of(video, cover); ground.size(0) > 0)
    result.background = nearest_name(std::get<0>(ground.median(0)), backgrounds());
  if (!seen.any().item<bool>()) return result;
  const Tensor places = track.index({seen}), covers = cover.index({seen});
  std::string_view best;
  for (const std::string_view shape : shapes()) {
    if (const double iou = overlap(covers, shape, places); iou > result.iou) {
      result.iou = iou;
      best = shape;
    }
  }
  result.subject = subject_of(video.index({seen}), covers, best, places);
  return result;
}

double Scores::joint() const {
  const double clean = 1 - contamination;
  if (appearance <= 0 || motion <= 0 || clean <= 0) return 0;
  return 3 / (1 / appearance + 1 / motion + 1 / clean);
}

Scores scores(const Tensor& video, const Asked& asked) {
  check_names(asked);
  const Tensor track = sprite_track(video);
  const Tensor cover = cover_of(video);
  const auto frames = static_cast<double>(video.size(0));
  Scores result;
  result.validity = static_cast<double>(whole_frames(cover)) / frames;
  const double distance = motion_distance_px(track, asked.motion) / kMotionScale_px;
  result.motion = std::exp(-distance * distance);

  const Tensor seen = track.select(1, 0).isnan().logical_not();
  if (seen.any().item<bool>())
    result.appearance =
        appearance_of(video.index({seen}), cover.index({seen}), track.index({seen}), asked.subject, asked.background) /
        frames;
  const Tensor ground = ground_of(video, cover);
  result.text = share(ground, backgrounds(), [&](std::string_view name) { return name == asked.background; });
  const std::set<std::string_view> own{asked.subject.first, asked.subject.second};
  const auto foreign = colours_of(asked.reference_subjects);
  const std::set<std::string_view> grounds(asked.reference_backgrounds.begin(), asked.reference_backgrounds.end());
  const double in_sprite = share(pixels_where(video, cover > .95), sprite_colours(),
                                 [&](std::string_view name) { return foreign.contains(name) && !own.contains(name); });
  const double in_ground = share(
      ground, backgrounds(), [&](std::string_view name) { return grounds.contains(name) && name != asked.background; });
  result.contamination = std::max(in_sprite, in_ground);
  return result;
}

}  // namespace jointtuner::evaluate::world

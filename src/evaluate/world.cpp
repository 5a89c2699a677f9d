#include "jointtuner/evaluate/world.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numbers>

#include "jointtuner/base/error.h"

namespace jointtuner::evaluate::world {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

[[noreturn]] void unknown(std::string_view kind, std::string_view name, const std::vector<std::string_view>& known) {
  throw Error(fmt::format("unknown {} '{}' of the sprite world; known: {}", kind, name, fmt::join(known, ", ")));
}

Tensor colour(const std::vector<Colour>& table, std::string_view kind, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const Colour& c) { return c.name == name; });
  if (found == table.end()) {
    std::vector<std::string_view> known;
    std::transform(table.begin(), table.end(), std::back_inserter(known), [](const Colour& c) { return c.name; });
    unknown(kind, name, known);
  }
  return at::tensor(at::ArrayRef<float>(found->rgb)).view({1, 3, 1, 1});
}

Tensor ramp(const Tensor& x) { return x.clamp(0, 1); }

}  // namespace

const std::vector<Colour>& sprite_colours() {
  static const std::vector<Colour> colours{
      {"red", {.93F, .12F, .12F}},   {"green", {.15F, .85F, .20F}},  {"blue", {.20F, .40F, 1.F}},
      {"yellow", {1.F, .92F, .15F}}, {"purple", {.82F, .25F, .95F}}, {"cyan", {.15F, .90F, .95F}},
      {"white", {.97F, .97F, .97F}},
  };
  return colours;
}

const std::vector<Colour>& backgrounds() {
  static const std::vector<Colour> colours{
      {"black", {.05F, .05F, .05F}}, {"navy", {.06F, .10F, .42F}}, {"forest", {.05F, .32F, .10F}},
      {"brown", {.40F, .22F, .08F}}, {"gray", {.36F, .36F, .36F}}, {"maroon", {.42F, .05F, .14F}},
      {"teal", {.04F, .36F, .38F}},  {"plum", {.28F, .10F, .36F}},
  };
  return colours;
}

const std::vector<std::string_view>& shapes() {
  static const std::vector<std::string_view> names{"circle", "square", "triangle", "cross", "heart"};
  return names;
}

const std::vector<std::string_view>& textures() {
  static const std::vector<std::string_view> names{"plain", "half", "band"};
  return names;
}

const std::vector<std::string_view>& motions() {
  static const std::vector<std::string_view> names{"still",        "left",        "right", "up",   "down",
                                                   "orbit",        "bounce",      "shake", "grow", "shrink",
                                                   "figure_eight", "square_loop", "swoop", "hop",  "spiral"};
  return names;
}

Tensor motion_path(std::string_view motion, int64_t frames) {
  const auto options = at::TensorOptions(at::kDouble);
  const Tensor t = frames > 1 ? at::linspace(0, 1, frames, options) : at::zeros({frames}, options);
  const Tensor turn = kTurn * at::arange(frames, options) / static_cast<double>(frames);
  const Tensor zero = at::zeros_like(t), one = at::ones_like(t);
  const Tensor across = 14 * t - 7, hops = 5 - 10 * (kTurn * t).sin().abs();
  const auto path = [](const Tensor& x, const Tensor& y, const Tensor& size) { return at::stack({x, y, size}, 1); };
  if (motion == "still") return path(zero, zero, one);
  if (motion == "left") return path(-across, zero, one);
  if (motion == "right") return path(across, zero, one);
  if (motion == "up") return path(zero, -across, one);
  if (motion == "down") return path(zero, across, one);
  if (motion == "orbit") return path(6 * turn.cos(), 6 * turn.sin(), one);
  if (motion == "bounce") return path(zero, hops, one);
  if (motion == "shake") return path(4 * (2 * turn).sin(), zero, one);
  if (motion == "grow") return path(zero, zero, .6 + .8 * t);
  if (motion == "shrink") return path(zero, zero, 1.4 - .8 * t);
  if (motion == "figure_eight") return path(7 * turn.sin(), 5.5 * (2 * turn).sin(), one);
  if (motion == "square_loop") {
    const Tensor side = 4 * turn / kTurn;  // how many of the four sides are behind
    return path(6.5 * (2 * ramp(side) - 2 * ramp(side - 2) - 1), 6.5 * (2 * ramp(side - 1) - 2 * ramp(side - 3) - 1),
                one);
  }
  const Tensor arch = (std::numbers::pi * t).sin();
  if (motion == "swoop") return path(across, 10 * arch - 5, .7 + .6 * arch);
  if (motion == "hop") return path(across, hops, one);
  if (motion == "spiral") {
    const Tensor angle = 1.25 * kTurn * t;
    return path(7.5 * t * angle.cos(), 7.5 * t * angle.sin(), one);
  }
  unknown("motion", motion, motions());
}

Tensor shape_distance(std::string_view shape, const Tensor& u, const Tensor& v) {
  const Tensor side = u.abs();
  if (shape == "circle") return (u * u + v * v).sqrt() - 1;
  if (shape == "square") return at::maximum(side, v.abs()) - .88;
  if (shape == "triangle") return at::maximum(v - .75, (1.75 * side - .95 * (v + 1.05)) / 1.99);
  if (shape == "cross")
    return at::minimum(at::maximum(side - 1.05, v.abs() - .42), at::maximum(side - .42, v.abs() - 1.05));
  if (shape == "heart") {
    const Tensor lobes = ((side - .5).square() + (v + .4).square()).sqrt() - .55;
    return at::minimum(lobes, at::maximum(-.35 - v, (1.2 * side + .95 * (v - 1.05)) / 1.53));
  }
  unknown("shape", shape, shapes());
}

Tensor draw(const Subject& subject, std::string_view background, const Tensor& places) {
  const Tensor axis = at::arange(kSize_px, at::kFloat) + .5;
  const auto column = [&](int64_t index) { return places.select(1, index).to(at::kFloat).view({-1, 1, 1}); };
  const Tensor r = column(2);
  const Tensor u = ((axis.view({1, 1, -1}) - column(0)) / r).expand({-1, kSize_px, -1});
  const Tensor v = ((axis.view({1, -1, 1}) - column(1)) / r).expand({-1, -1, kSize_px});
  const Tensor cover = (.5 - shape_distance(subject.shape, u, v) * r).clamp(0, 1).unsqueeze(1);
  Tensor second = at::zeros_like(cover);
  if (subject.texture == "half")
    second = (u > 0).to(at::kFloat).unsqueeze(1);
  else if (subject.texture == "band")
    second = (v.abs() < .3).to(at::kFloat).unsqueeze(1);
  else if (subject.texture != "plain")
    unknown("texture", subject.texture, textures());
  const Tensor sprite = (1 - second) * colour(sprite_colours(), "sprite colour", subject.first) +
                        second * colour(sprite_colours(), "sprite colour", subject.second);
  return (1 - cover) * colour(backgrounds(), "background", background) + cover * sprite;
}

}  // namespace jointtuner::evaluate::world

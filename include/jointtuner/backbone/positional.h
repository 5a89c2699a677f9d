// Where each token lies: the position inputs of a denoiser that takes them from outside, for any size.
//
// Latents [B,C,F,h,w] become T x H x W tokens, T = F / patch_frames, H = h / patch, W = w / patch, in the order frame,
// row, column; S = T H W. Tables are float32 on the CPU:
//
//   sincos_3d   positional_table [S,width]. A token's numbers are [sincos(t / temporal_scale), sincos(x / scale),
//               sincos(y / scale)] of its frame t, column x and row y (in this order, as published) with scale =
//               spatial_scale, width/4, 3 width/8 and 3 width/8 of them; sincos(p) = [sin(p w_i)..., cos(p w_i)...]
//               with w_i = 10000^(-i/n), i = 0 .. n-1. Angles in float64.
//   rope_3d     rope_cos and rope_sin [S,head_dim], of the angles [t f_i, y f_i, x f_i], head_dim/4, 3 head_dim/8 and
//               3 head_dim/8 numbers: f_i = theta^(-2i/n), i = 0 .. n/2-1, each twice in a row. Angles in float32.
//
// In rope_3d, t is the token's frame. With grid "slice", y and x are its row and column, and the base size is the
// largest that the model knows. With "resize" the H x W grid is laid over the base grid: scaled to fit inside, centred,
// both rounded to whole patches (half to even); that gives its first edge e and its last E on each axis, and n rows or
// columns are spread evenly from e to E (n-1)/n. At the base size both grids are row and column.
//
// Equal to what diffusers' CogVideoXPatchEmbed adds and to CogVideoXPipeline._prepare_rotary_positional_embeddings, bit
// for bit where the processor has AVX2 or AVX-512; elsewhere "resize" differs by the rounding of linspace, 5e-7.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "jointtuner/backbone/manifest.h"

namespace jointtuner::backbone {

using at::Tensor;

/// The position inputs by their role in DenoiserManifest::inputs; empty for NoPositional. latent_frames are those that
/// the denoiser gets, padding included. Throws Error, naming the sizes that fit, where the latents do not divide into
/// patches or exceed a "slice" grid, and where the manifest's width does not divide.
std::map<std::string, Tensor> positional_inputs(const PositionalManifest& positional, int64_t latent_frames,
                                                int64_t latent_height, int64_t latent_width);

}  // namespace jointtuner::backbone

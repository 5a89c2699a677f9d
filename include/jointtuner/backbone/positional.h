// Where each token lies: the position inputs of a denoiser that takes them from outside, for any size.
//
// Latents [B,C,F,h,w] become T x H x W tokens, T = F / patch_frames, H = h / patch, W = w / patch, in the order frame,
// row, column; S = T H W. Everything is float32 on the CPU; the first two kinds differ in more than their place of use:
//
//   sincos_3d   positional_table [S,width], added to the tokens. A token's row is [sincos(t), sincos(x), sincos(y)] of
//               width/4, 3 width/8 and 3 width/8 numbers, of its frame number t / temporal_scale, column /
//               spatial_scale and row / spatial_scale (column first, as published); sincos(p) = [sin(p w_i)..., cos(p
//               w_i)...] with w_i = 10000^(-i/n), i = 0 .. n-1. Computed in float64, then rounded.
//   rope_3d     rope_cos, rope_sin [S,head_dim]: cosines and sines of [t f_i, y f_i, x f_i] for head_dim/4, 3
//   head_dim/8
//               and 3 head_dim/8 numbers, f_i = theta^(-2i/n), i = 0 .. n/2-1, each twice in a row. In float32.
//
// Rotary positions: t is the token's frame. "slice" takes row and column themselves, so the base size is the largest.
// "resize" lays the H x W grid over the base grid: scaled to fit inside, centred, both rounded to whole patches (half
// to even), and rows and columns spaced evenly from the first edge. At the base size both give row and column.
//
// Equal to diffusers' CogVideoXPatchEmbed (get_3d_sincos_pos_embed) and to
// CogVideoXPipeline._prepare_rotary_positional_embeddings, bit for bit on the same processor.
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

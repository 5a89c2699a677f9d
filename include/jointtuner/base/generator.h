// Named random generators: every draw of a run can be repeated by anybody who knows (seed, step, name).
//
// The generator's seed is the unsigned 64-bit little-endian integer in the first 8 bytes of SHA-256 of the text
// "{seed}/{step}/{name}". Draws are fp32 randn/rand/randperm of ATen on the CPU, then moved and cast, so that every
// device starts alike. There is no global generator anywhere in a step.
#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace jointtuner {

/// The 64-bit seed of generator(seed, step, name).
uint64_t generator_seed(uint64_t seed, int64_t step, std::string_view name);

/// A fresh CPU generator for (seed, step, name).
at::Generator generator(uint64_t seed, int64_t step, std::string_view name);

/// fp32 CPU tensor of N(0,1) draws.
at::Tensor normal_draw(at::IntArrayRef sizes, const at::Generator& generator);

/// fp32 CPU tensor of U[0,1) draws.
at::Tensor uniform_draw(at::IntArrayRef sizes, const at::Generator& generator);

}  // namespace jointtuner

#include "jointtuner/base/generator.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include "jointtuner/base/sha256.h"

namespace jointtuner {

uint64_t generator_seed(uint64_t seed, int64_t step, std::string_view name) {
  const auto digest = Sha256().update(fmt::format("{}/{}/{}", seed, step, name)).digest();
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | digest[static_cast<size_t>(i)];
  return value;
}

at::Generator generator(uint64_t seed, int64_t step, std::string_view name) {
  return at::detail::createCPUGenerator(generator_seed(seed, step, name));
}

at::Tensor normal_draw(at::IntArrayRef sizes, const at::Generator& generator) {
  return at::randn(sizes, generator, at::TensorOptions().dtype(at::kFloat));
}

at::Tensor uniform_draw(at::IntArrayRef sizes, const at::Generator& generator) {
  return at::rand(sizes, generator, at::TensorOptions().dtype(at::kFloat));
}

}  // namespace jointtuner

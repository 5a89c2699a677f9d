// Single draws of Philox4x32-10, for comparison with blocks and masks.
#pragma once
#include <array>
#include <cstdint>

#include "src/kernels/philox.h"

namespace jointtuner::kernels {

using Words = std::array<uint32_t, 4>;

inline Words philox4x32(const Words& counter, const std::array<uint32_t, 2>& key) {
  Words words;
  philox::draw(counter[0], counter[1], counter[2], counter[3], key[0], key[1], words.data());
  return words;
}

}  // namespace jointtuner::kernels

// One adapted linear of the frozen denoiser.
#pragma once
#include <cstdint>
#include <string>

namespace jointtuner::adapter {

/// A linear y = x W^T + b with W [M,K]. Lists of sites are in the published order: rule by rule of the bundle, inside a
/// rule in registration order of the modules.
struct Site {
  std::string path;          ///< module path, e.g. "transformer_in.transformer_blocks.0.attn1.to_q"
  std::string group;         ///< group of its rule, e.g. "spatial" or "temporal"
  int64_t in_features = 0;   ///< K
  int64_t out_features = 0;  ///< M

  bool operator==(const Site&) const = default;
};

}  // namespace jointtuner::adapter

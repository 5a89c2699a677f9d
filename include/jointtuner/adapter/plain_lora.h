// Export for tools that know plain LoRA only.
//
// AN APPROXIMATION: the gate g(x) depends on the input, so a gated adapter cannot be written as a plain LoRA exactly.
// Here g(x) is replaced by a constant: 0.5, its value at initialization, or the mean gate that a run measured. An
// ungated adapter is exported exactly (constant 1).
#pragma once
#include <filesystem>
#include <string>

#include "jointtuner/adapter/adapter_set.h"

namespace jointtuner::adapter {

/// Gate value at initialization: sigmoid(0).
inline constexpr double kInitialGate = 0.5;

/// Writes safetensors with `<prefix><site path>.lora_A.weight` = lora_down [R,K] and `.lora_B.weight` =
/// scale * gate * lora_up [M,R], fp32: the names of diffusers and PEFT, without alpha (so alpha = rank). `prefix` is
/// "unet." or "transformer." for pipelines. An ungated set ignores `gate`. Throws Error when `gate` is not in (0, 1].
void export_plain_lora(const std::filesystem::path& path, const AdapterSet& adapters, double scale, double gate,
                       const std::string& prefix);

}  // namespace jointtuner::adapter

// Whether a stage fits into a given memory, and what to change so that it does.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/forecast/stage.h"

namespace jointtuner::forecast {

/// What a process on a GPU needs besides what is forecast. Allowances, not forecasts: they differ from GPU to GPU
/// and from version to version.
inline constexpr int64_t kCudaContext = 512 << 20;     // driver's context and the libraries' loaded kernels
inline constexpr int64_t kCublasWorkspace = 32 << 20;  // LibTorch's own size on Hopper; 8 MiB on older GPUs
inline constexpr int64_t kCudnnWorkspace = 256 << 20;  // of the convolution algorithm that cuDNN picks

/// Bytes that must be free for the stage once the process has its context: the peak in the allocator's blocks and the
/// libraries' work spaces; on the CPU the peak alone.
int64_t required(const Stage& stage, c10::Device described);

/// Of a whole GPU's memory, what is free after the context; of the host's all.
int64_t usable(int64_t memory, c10::Device described);

/// One change of a run, on top of those before it.
struct Change {
  std::string settings;  ///< as --set takes them, separated by spaces: "train.activation_checkpointing=on"
  std::string cost;      ///< what it costs: "about a third more time a step"
  Stage stage;           ///< with it: a dry run of its own
  bool fits = false;
};

/// Changes that make the stage (by its name) of `work` smaller, the cheapest in time first, until it fits into `free`
/// bytes; the last one does not fit if none does. Empty when nothing can be changed. Throws Error for an unknown stage.
///   train           batch 1 with accumulation instead; checkpoint segments; these offloaded; half the rank, down to
///   16;
///                   fewer frames
///   encode latents  tiles of half the side, a quarter ...
///   preview         sampling after the run; fewer frames
///   decode          single frames (autoencoders that take them one by one); tiles; sampling after the run
std::vector<Change> changes_to_fit(const backbone::Bundle& bundle, Work work, const std::string& stage, int64_t free,
                                   c10::Device described);

}  // namespace jointtuner::forecast

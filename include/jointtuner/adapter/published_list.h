// The adapter files of the published Python code: `torch.save` of a flat list of fp32 Parameters without names, one
// triple (lora_up [M,R], lora_down [R,K], lora_gate [1,K]) a site, in the published site order. Plain LoRA: pairs (up,
// down).
//
// Such a file is a zip archive around a pickle, and a pickle may ask for any Python function to be called. Nothing is
// ever called here: a small reader understands only what a list of tensors needs (pickle_list.h) and refuses the rest.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <vector>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/adapter/site.h"

namespace jointtuner::adapter {

/// The tensors of a published list, in order, contiguous, fp32 (fp16 and bf16 are widened), on the CPU.
/// Throws Error naming the file: not a zip archive (also: the format before PyTorch 1.6, with how to convert it),
/// truncated, a pickle that asks for anything but a list (or tuple) of tensors - refused, not executed - or a
/// non-finite tensor.
std::vector<Tensor> load_published_list(const std::filesystem::path& path);

/// `tensors` as a set for `sites`: triples, or pairs when there are exactly two tensors a site. `path` is for messages.
/// Throws Error naming the first site whose tensors do not fit, with expected and found shapes, or the two counts.
AdapterSet match_published_list(const std::vector<Tensor>& tensors, const std::vector<Site>& sites,
                                const std::filesystem::path& path, at::Device device);

/// Writes the set as a published list of Parameters that Python's `torch.load(path, weights_only=True)` and the
/// published code read; atomically and with the same bytes every time.
void save_published_list(const std::filesystem::path& path, const AdapterSet& adapters);

}  // namespace jointtuner::adapter

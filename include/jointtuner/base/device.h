// The device a user names on the command line or in a config, and the way there.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string_view>

namespace jointtuner {

/// Whether `text` is "auto", "cpu", "cuda" or "cuda:N", N of at most three digits.
bool is_device_name(std::string_view text);

/// The device of that name; auto: the first CUDA device if there is one, else the CPU. Throws UsageError for any other
/// text and when the device does not exist here.
c10::Device parse_device(std::string_view text);

/// Bytes that this process can still take: of a GPU what its driver says is free, of the host what Linux gives without
/// swapping (MemAvailable). 0 where nobody says.
int64_t free_memory_bytes(c10::Device device);

/// `tensor` on `device`; itself where it is there already. Copied from the CPU to a device through pinned memory, so
/// that the host goes on without waiting for what the device has still to do.
at::Tensor to_device(const at::Tensor& tensor, c10::Device device);

}  // namespace jointtuner

#include "jointtuner/base/device.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "jointtuner/base/error.h"

namespace jointtuner {

namespace {

constexpr std::string_view kNumbered = "cuda:";

}  // namespace

bool is_device_name(std::string_view text) {
  if (text == "auto" || text == "cpu" || text == "cuda") return true;
  if (!text.starts_with(kNumbered)) return false;
  const std::string_view number = text.substr(kNumbered.size());
  return !number.empty() && number.size() <= 3 && number.find_first_not_of("0123456789") == std::string_view::npos;
}

c10::Device parse_device(std::string_view text) {
  if (!is_device_name(text)) throw UsageError(fmt::format("device '{}': expected auto, cpu, cuda or cuda:N", text));
  const int64_t gpus = at::hasCUDA() ? static_cast<int64_t>(at::detail::getCUDAHooks().deviceCount()) : 0;
  if (text == "cpu" || (text == "auto" && gpus == 0)) return c10::kCPU;
  if (text == "auto") return {c10::kCUDA, 0};
  const int64_t index = text == "cuda" ? 0 : std::stoll(std::string(text.substr(kNumbered.size())));
  if (gpus == 0)
    throw UsageError(
        fmt::format("device '{}': no CUDA device is usable here (no GPU, no driver, or a program built without "
                    "-DJOINTTUNER_CUDA=ON); use --device cpu",
                    text));
  if (index >= gpus)
    throw UsageError(fmt::format("device '{}': this machine has {} CUDA device(s), numbered from 0", text, gpus));
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

int64_t free_memory_bytes(c10::Device device) {
  if (device.is_cuda()) {
    const auto index = device.has_index() ? device.index() : c10::DeviceIndex{0};
    return static_cast<int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(index).first);
  }
  if (!device.is_cpu()) return 0;
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (constexpr std::string_view kKey = "MemAvailable:"; line.starts_with(kKey))
      return std::strtoll(line.c_str() + kKey.size(), nullptr, 10) * 1024;
  return 0;
}

at::Tensor to_device(const at::Tensor& tensor, c10::Device device) {
  if (device.is_cpu() || device.is_meta() || !tensor.is_cpu()) return tensor.to(device);
  // The allocator of pinned memory keeps the copy until the device has read it.
  return tensor.pin_memory().to(tensor.options().device(device), /*non_blocking=*/true);
}

}  // namespace jointtuner

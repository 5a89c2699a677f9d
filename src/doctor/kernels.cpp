#include "kernels.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "jointtuner/kernels/glora_linear.h"

namespace jointtuner::doctor {
namespace {

constexpr KernelSize kOdd{3, 3, 5, 7, 9, 33, 41, 67, 5};         // tails everywhere, no row aligned
constexpr KernelSize kEven{2, 4, 8, 16, 16, 192, 64, 128, 16};   // whole vectors, several blocks
constexpr KernelSize kCpu{2, 4, 16, 64, 64, 256, 320, 320, 32};  // beyond the caches
constexpr KernelSize kCard{2, 4, 16, 256, 256, 8192, 1280, 1280, 32};

Tensors on_device(const Tensors& tensors, at::Device device) {
  Tensors moved;
  for (const Tensor& tensor : tensors) moved.push_back(tensor.to(device));
  return moved;
}

Tensors widened(const Tensors& tensors) {
  Tensors wide;
  for (const Tensor& tensor : tensors) wide.push_back(tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  return wide;
}

double bytes(const Tensors& tensors) {
  double sum = 0;
  for (const Tensor& tensor : tensors) sum += static_cast<double>(tensor.nbytes());
  return sum;
}

/// The clock reads the device's work, not its queue.
void wait_for(at::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

/// Median over rounds of the time of one call.
double seconds_a_call(const Bound& kernel, at::Device device, bool quick) {
  using Clock = std::chrono::steady_clock;
  const int64_t calls = device.is_cpu() ? 1 : 10;  // a launch alone is shorter than the wait for it
  const size_t rounds = quick ? 3 : 7;
  kernel();
  std::vector<double> times;
  while (times.size() < rounds) {
    wait_for(device);
    const auto began = Clock::now();
    for (int64_t i = 0; i < calls; ++i) kernel();
    wait_for(device);
    times.push_back(std::chrono::duration<double>(Clock::now() - began).count() / static_cast<double>(calls));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(rounds / 2), times.end());
  return times[rounds / 2];
}

double largest(const Tensor& tensor) {
  return tensor.numel() == 0 ? 0 : tensor.abs().max().to(at::kDouble).item().toDouble();
}

struct Comparison {
  double difference = 0;
  bool repeats = true;
};

Comparison compared(const KernelCase& kernel, const KernelSize& size, at::Device device, at::ScalarType dtype) {
  const Tensors inputs = kernel.inputs(size, dtype);
  const Tensors expected = kernel.reference(widened(inputs))();
  const Tensors moved = on_device(inputs, device);
  const Tensors found = on_device(kernel.kernel(moved)(), at::kCPU);
  const Tensors again = on_device(kernel.kernel(moved)(), at::kCPU);
  Comparison result{largest_difference(found, expected), true};
  for (size_t i = 0; i < found.size(); ++i) result.repeats &= found[i].equal(again[i]);
  return result;
}

std::string place(at::Device device, at::ScalarType dtype) {
  return fmt::format("{} {}", device.str(), c10::getDtypeNames(dtype).first);
}

}  // namespace

double largest_difference(const Tensors& found, const Tensors& expected) {
  if (found.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double floor = 0, difference = 0;
  for (const Tensor& wanted : expected) floor = std::max(floor, 0.01 * largest(wanted));
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].sizes() != expected[i].sizes()) return std::numeric_limits<double>::infinity();
    const double scale = std::max({largest(expected[i]), floor, std::numeric_limits<double>::min()});
    const double one = largest(found[i].to(at::kDouble) - expected[i].to(at::kDouble)) / scale;
    if (std::isnan(one)) return one;
    difference = std::max(difference, one);
  }
  return difference;
}

Row kernel_row(const KernelCase& kernel, at::Device device, at::ScalarType dtype, bool quick) {
  const Comparison odd = compared(kernel, kOdd, device, dtype), even = compared(kernel, kEven, device, dtype);
  Row row{.part = "kernels", .check = kernel.name, .on = place(device, dtype), .limit = kernel.limit(dtype)};
  row.error = std::isnan(odd.difference) ? odd.difference : std::max(odd.difference, even.difference);
  if (std::isnan(even.difference)) row.error = even.difference;
  row.verdict = judged(*row.error, *row.limit);
  if (!odd.repeats || !even.repeats) {
    row.found = "two calls differ";
    row.verdict = Verdict::wrong;
  }
  const Tensors inputs = on_device(kernel.inputs(quick ? kEven : device.is_cpu() ? kCpu : kCard, dtype), device);
  const Bound bound = kernel.kernel(inputs);
  row.gb_per_s = (bytes(inputs) + bytes(bound())) / seconds_a_call(bound, device, quick) / 1e9;
  return row;
}

Row frozen_row(at::Device device, at::ScalarType dtype) {
  const Tensors in = on_device(kernel_cases().front().inputs(kOdd, dtype), device);
  const Tensor silent = at::zeros_like(in[4]);
  const Tensor adapted = kernels::glora_linear(in[0], {in[1], in[2]}, {in[3], silent, in[5]},
                                               {.groups = in[0].size(0), .dropout = {0.1, 7, 1}});
  const bool same = adapted.equal(at::linear(in[0], in[1], in[2]));
  return {.part = "kernels",
          .check = "glora_linear, lora_up = 0",
          .on = place(device, dtype),
          .found = same ? "the frozen layer's bits" : "other bits than the frozen layer's",
          .verdict = same ? Verdict::ok : Verdict::wrong};
}

}  // namespace jointtuner::doctor

// The operators on a GPU against what they replace: times of every pair of chains.h and of glora_linear on real
// layers. See bench/README.md. A build with CUDA compiles this in place of kernel_bytes.cpp, whose kernels run on the
// CPU.
//
// usage: jointtuner_bench_kernels [ROUNDS]      (default 9)
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <exception>
#include <functional>
#include <iostream>

#include "chains.h"
#include "jointtuner/base/device.h"
#include "jointtuner/base/generator.h"
#include "turns.h"

namespace jointtuner::bench {
namespace {

constexpr int kRepeats = 20;

/// Microseconds of one call on the GPU, from events around kRepeats of them, so with the gaps between launches.
double microseconds(const std::function<void()>& work) {
  at::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
  begin.record();
  for (int i = 0; i < kRepeats; ++i) work();
  end.record();
  end.synchronize();
  return 1000.0 * begin.elapsed_time(end) / kRepeats;
}

void print_pair(const Pair& pair, const char* dtype, int rounds) {
  const auto found = take_turns<2>(
      {[&] { return microseconds(pair.fused.run); }, [&] { return microseconds(pair.chain.run); }}, rounds);
  fmt::print("| {} | {} | {:.1f} | {:.1f} | {:.2f} |\n", pair.name, dtype, found.time[0], found.time[1],
             found.first_to[1]);
  std::fflush(stdout);
}

void print_layer(const LayerShape& shape, double dropout, const at::TensorOptions& kind, int rounds) {
  const Layer layer(shape.batch, shape.tokens, shape.in, shape.out, kLayerRank, kind);
  const Tensor gradient = normal_draw({shape.batch, shape.tokens, shape.out}, generator(0, 0, "gradient")).to(kind);
  const auto pass = [&](const Tensors& leaves, const std::function<Tensor()>& forward) {
    return microseconds([&] { torch::autograd::grad({forward()}, leaves, {gradient}); });
  };
  const auto found = take_turns<3>({[&] { return pass(layer.leaves(), [&] { return layer.fused(dropout); }); },
                                    [&] { return pass(layer.leaves(), [&] { return layer.plain(dropout); }); },
                                    [&] { return pass({layer.x}, [&] { return layer.frozen(); }); }},
                                   rounds);
  fmt::print("| {} | {:g} | {:.0f} | {:.0f} | {:.0f} | {:.2f} | {:.2f} |\n", shape.name, dropout, found.time[0],
             found.time[1], found.time[2], found.first_to[1], found.first_to[2]);
  std::fflush(stdout);
}

void run(int rounds) {
  const at::Device gpu = parse_device("cuda");
  fmt::print("{}; microseconds a call, medians of {} rounds in turns.\n\n", at::cuda::getDeviceProperties(0)->name,
             rounds);
  fmt::print("| operator | dtype | jointtuner | chain of ATen operators | ratio |\n|---|---|---|---|---|\n");
  for (const auto& [dtype, name] : {std::pair{at::kFloat, "fp32"}, std::pair{at::kHalf, "fp16"}})
    for (const Pair& pair : pairs(at::TensorOptions(gpu).dtype(dtype))) print_pair(pair, name, rounds);
  fmt::print(
      "\nForward and backward, fp16, rank {}.\n\n"
      "| layer | dropout | glora_linear | nn.Linear + GLoRA in ATen | frozen | to ATen | to frozen |\n"
      "|---|---|---|---|---|---|---|\n",
      kLayerRank);
  for (const LayerShape& shape : kLayerShapes)
    for (const double dropout : {0.0, 0.1})
      print_layer(shape, dropout, at::TensorOptions(gpu).dtype(at::kHalf), rounds);
}

}  // namespace
}  // namespace jointtuner::bench

int main(int argc, char** argv) {
  try {
    jointtuner::bench::run(argc > 1 ? std::stoi(argv[1]) : 9);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "jointtuner_bench_kernels: " << error.what() << '\n';
    return 1;
  }
}

// The operators against what they replace: bytes moved, and the time of glora_linear on this CPU. See bench/README.md.
//
// usage: jointtuner_bench_kernels [ROUNDS]      (default 9)
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>

#include "byte_counter.h"
#include "chains.h"
#include "cuda_kernels_on_cpu.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/base/memory_allocator.h"
#include "turns.h"

namespace jointtuner::bench {
namespace {

/// Relative: numbers of a sample or of a token, such as gates and timesteps, are not on paper for all operators.
constexpr double kSlack = 0.01;

double bytes_an_element(const Work& work, double elements, const std::function<Moved()>& own = {}) {
  const ByteCounter counter(own);
  work.run();
  const double sum = static_cast<double>(counter.sum().total()) / elements;
  if (std::getenv("BENCH_OPERATORS") != nullptr) {
    fmt::print(stderr, "{:.2f} bytes\n", sum);
    for (const auto& [name, moved] : counter.by_operator())
      fmt::print(stderr, "    {:<40} {:6.2f} read {:6.2f} written\n", name, static_cast<double>(moved.read) / elements,
                 static_cast<double>(moved.written) / elements);
  }
  return sum;
}

/// Prints one row. False when the chain's count is not what the paper says, or the kernels' is below it.
bool print_bytes(const Pair& pair, const char* dtype) {
  const double chain_paper = pair.chain.paper_bytes / pair.elements, paper = pair.fused.paper_bytes / pair.elements;
  const double chain = bytes_an_element(pair.chain, pair.elements);
  std::optional<double> fused;
  if (pair.fused_runs_here) {
    const CudaKernelsOnCpu kernels;
    fused = bytes_an_element(pair.fused, pair.elements, moved_by_cuda_kernels);
  }
  fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.2f} | {} | {:.2f} |\n", pair.name, dtype, chain_paper, chain, paper,
             fused ? fmt::format("{:.2f}", *fused) : "-", chain / fused.value_or(paper));
  std::fflush(stdout);
  return std::abs(chain - chain_paper) <= kSlack * chain_paper && fused.value_or(paper) >= (1 - kSlack) * paper;
}

bool print_all_bytes() {
  fmt::print(
      "| operator | dtype | chain: paper | counted | fused: paper | counted | chain / fused |\n"
      "|---|---|---|---|---|---|---|\n");
  bool right = true;
  for (const auto& [dtype, name] : {std::pair{at::kFloat, "fp32"}, std::pair{at::kHalf, "fp16"}})
    for (const Pair& pair : pairs(dtype)) right &= print_bytes(pair, name);
  return right;
}

double milliseconds(const Tensor& gradient, const Tensors& leaves, const std::function<Tensor()>& forward) {
  const auto began = std::chrono::steady_clock::now();
  torch::autograd::grad({forward()}, leaves, {gradient});
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
}

/// Times of forward and backward.
void print_times(const LayerShape& shape, double dropout, int rounds) {
  const Layer layer(shape.batch, shape.tokens, shape.in, shape.out, kLayerRank, at::kFloat);
  const Tensor gradient = normal_draw({shape.batch, shape.tokens, shape.out}, generator(0, 0, "gradient"));
  const auto found =
      take_turns<3>({[&] { return milliseconds(gradient, layer.leaves(), [&] { return layer.fused(dropout); }); },
                     [&] { return milliseconds(gradient, layer.leaves(), [&] { return layer.plain(dropout); }); },
                     [&] { return milliseconds(gradient, {layer.x}, [&] { return layer.frozen(); }); }},
                    rounds);
  fmt::print("| {} | {:g} | {:.1f} | {:.1f} | {:.1f} | {:.2f} | {:.2f} |\n", shape.name, dropout, found.time[0],
             found.time[1], found.time[2], found.first_to[1], found.first_to[2]);
  std::fflush(stdout);
}

int run(int rounds) {
  fmt::print("Bytes moved an element of the result.\n\n");
  const bool agree = print_all_bytes();
  fmt::print(
      "\nForward and backward on this CPU, ms, fp32, rank {}, {} threads, medians of {} rounds in turns.\n\n"
      "| layer | dropout | glora_linear | nn.Linear + GLoRA in ATen | frozen | to ATen | to frozen |\n"
      "|---|---|---|---|---|---|---|\n",
      kLayerRank, at::get_num_threads(), rounds);
  for (const LayerShape& shape : kLayerShapes)
    for (const double dropout : {0.0, 0.1}) print_times(shape, dropout, rounds);
  if (!agree) std::cerr << "jointtuner_bench_kernels: a count is not what the paper says\n";
  return agree ? 0 : 1;
}

}  // namespace
}  // namespace jointtuner::bench

int main(int argc, char** argv) {
  try {
    jointtuner::tune_memory_allocator();
    at::set_num_threads(2);
    return jointtuner::bench::run(argc > 1 ? std::stoi(argv[1]) : 9);
  } catch (const std::exception& error) {
    std::cerr << "jointtuner_bench_kernels: " << error.what() << '\n';
    return 1;
  }
}

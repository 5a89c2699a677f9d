// The traced graph of the denoiser, rewritten to take adapters and to hold checkpoint segments. Private to inject.
#pragma once
#include <c10/core/Device.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "jointtuner/adapter/site.h"
#include "jointtuner/backbone/manifest.h"

namespace torch::jit {

struct Graph;
struct Module;

}  // namespace torch::jit

namespace jointtuner::inject {

/// What the rewriting adds to the inputs of the graph.
enum class InputKind { down, up, gate, scale, dropout, dropout_seed, pooling_groups, segment_run };

struct AddedInput {
  InputKind kind;
  size_t index = 0;  ///< down, up, gate: the site; scale: the site group, in the order of its first site; else 0
  auto operator<=>(const AddedInput&) const = default;
};

struct RewriteRequest {
  at::Device device = at::kCPU;      ///< where device constants point to
  std::vector<adapter::Site> sites;  ///< to be adapted; none leaves the model frozen
  std::vector<std::string> groups;   ///< names of the sites' groups
  bool gated = true;                 ///< glora_linear gets a gate
};

struct RewrittenGraph {
  std::shared_ptr<torch::jit::Graph> graph;  ///< inputs: the module, the arguments of forward, then `added`
  std::vector<AddedInput> added;
  std::vector<std::string> segments;  ///< module paths below the root, in the order in which they run
};

/// Rewrites a copy of wrapper.forward's graph; the module stays as it is. Throws Error for control flow, an unknown
/// call, an active dropout, a site without an aten::linear, and a segment pattern that matches no call.
RewrittenGraph rewrite(const torch::jit::Module& wrapper, const backbone::DenoiserManifest& denoiser,
                       const RewriteRequest& request);

}  // namespace jointtuner::inject

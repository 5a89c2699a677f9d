// The frozen denoiser as a program with adapters: the traced graph, rewritten once, run as often as needed.
//
// load -> copy of the graph -> inline all calls but those of checkpoint segments -> canonicalise (device constants,
// repeat counts; control flow and active dropout are refused) -> each adapted aten::linear becomes
// jointtuner::glora_linear whose adapter tensors are inputs of the graph -> each segment becomes jointtuner::segment,
// run under a re-entrant checkpoint while training. The weights exist once, are never changed and never get gradients.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "jointtuner/adapter/adapter_set.h"
#include "jointtuner/adapter/gate_pooling.h"
#include "jointtuner/adapter/site.h"
#include "jointtuner/backbone/bundle.h"

namespace jointtuner::inject {

using at::Tensor;

struct GraphOptions {
  // Keep only the segments' inputs between forward and backward and compute the rest again (when gradients are recorded
  // at all). Changes memory and time, never a bit of a result.
  bool activation_checkpointing = true;
  // The adapters have gates. Without: plain low-rank adaptation, y = xW^T + b + scale * Dropout((xD^T)U^T).
  bool gated = true;
};

// How the adapters act in one run. A site's scale is `scale * group_scale[site.group]` (1 for a group that is not
// named).
struct AdapterRun {
  double scale = 1;
  std::map<std::string, double> group_scale = {};
  double dropout = 0;        // probability p in [0, 1)
  int64_t dropout_seed = 0;  // masks are a function of (seed, site, element) alone
  adapter::GatePooling pooling = adapter::GatePooling::sample;
};

class GraphProgram {
 public:
  // Loads the bundle's denoiser onto `device` and builds the adapted program. Throws Error if the file is damaged, has
  // control flow, an unknown call or an active dropout, if a rule of the manifest matches no or another number of
  // linears, or a segment pattern matches nothing.
  GraphProgram(const backbone::Bundle& bundle, at::Device device, GraphOptions options = {});
  ~GraphProgram();
  GraphProgram(GraphProgram&&) noexcept;
  GraphProgram& operator=(GraphProgram&&) noexcept;

  // The adapted linears in the published order.
  const std::vector<adapter::Site>& sites() const;
  // Number of checkpoint segments in the program.
  int64_t segments() const;

  // latents [B,C,F,h,w], timestep [B] int64, prompt_embedding [B,L,D] (floating point, any device) -> prediction
  // [B,C,F,h,w] fp32 on the program's device. The model runs in the bundle's dtype; casts happen here. `adapters` null
  // runs the frozen model, built on first use; it equals zero lora_up bit for bit. Under grad mode gradients flow to
  // adapters (and to latents and embedding) that require them. Throws Error for sizes that the manifest does not allow,
  // for adapters of other sites, of another device or gating, for an unknown group, and for what fails inside the
  // model, with the operator's message.
  Tensor run(const Tensor& latents, const Tensor& timestep, const Tensor& prompt_embedding,
             const adapter::AdapterSet* adapters, const AdapterRun& how = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::inject

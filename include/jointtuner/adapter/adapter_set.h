// The trainable state of a run: the adapters of all sites in one flat buffer.
//
// Site i owns lora_down D [R,K], lora_up U [M,R] and, when gated, lora_gate G [1,K]; its linear becomes
//
//   y = x W^T + b + scale * g(x) * dropout((x D^T) U^T),   g(x) = mean over the pooling group of sigmoid(x G^T)
//
// (JointTuner, arXiv 2503.23951, section 3.2). All of them are views of ONE contiguous fp32 buffer, and all their
// gradients are views of ONE fp32 gradient buffer, so that the optimiser, clipping and zeroing are single operations:
//
//   flat = [D0 | G0 | U0 | D1 | G1 | U1 | ...]     (D and G of a site are adjacent: together a [R+1,K] matrix)
//
// Nothing is padded: a view begins wherever its predecessor ends, so kernels may rely on 4-byte alignment alone.
//
// The views are autograd leaves whose .grad is preset to the matching view of flat_gradient(): backward() adds into the
// flat gradient in place. Never assign or reset a view's .grad; call zero_gradient() instead.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/adapter/site.h"

namespace jointtuner::adapter {

using at::Tensor;

/// The adapter of one site, fp32, on the set's device.
struct SiteAdapter {
  Tensor down;  ///< lora_down [R,K]
  Tensor up;    ///< lora_up [M,R]
  Tensor gate;  ///< lora_gate [1,K]; undefined when the set is ungated
};

class AdapterSet {
 public:
  /// All-zero adapters of rank `rank` for `sites`, kept in the given order; without `gated` this is plain LoRA.
  /// Throws Error: no sites; two sites with one path; rank below 1.
  AdapterSet(std::vector<Site> sites, int64_t rank, bool gated, at::Device device);

  AdapterSet(AdapterSet&&) noexcept = default;
  AdapterSet& operator=(AdapterSet&&) noexcept = default;
  AdapterSet(const AdapterSet&) = delete;  ///< a copy would share the buffers; see clone()
  AdapterSet& operator=(const AdapterSet&) = delete;
  ~AdapterSet() = default;

  /// Initial values: U = 0, so that the adapted model equals the frozen one bit for bit; D ~ N(0, (1/R)^2), then G from
  /// the same generator(seed, 0, "adapter/<site path>"): `gate_init` "normal": N(0, (1/R)^2); "uniform":
  /// U(-1/sqrt(K), 1/sqrt(K)). D = randn [R,K] / R; G = randn [1,K] / R or (2 * rand [1,K] - 1) / sqrt(K), all fp32.
  /// Throws Error for another `gate_init` and for a rank that is not worth training (trainable_rank.h).
  void initialize(uint64_t seed, const std::string& gate_init);

  const std::vector<Site>& sites() const { return sites_; }
  size_t size() const { return sites_.size(); }
  /// The adapter of site `index`; throws std::out_of_range.
  const SiteAdapter& at(size_t index) const { return adapters_.at(index); }

  /// All parameters, fp32 [parameters()]; writing to it changes the adapters. Does not require a gradient itself.
  const Tensor& flat() const { return flat_; }
  /// Number of trainable values: the sum of R*K + M*R (+ K) over the sites.
  int64_t parameters() const { return flat_.numel(); }
  int64_t rank() const { return rank_; }
  bool gated() const { return gated_; }
  at::Device device() const { return flat_.device(); }

  /// true: every adapter tensor becomes a leaf that requires a gradient, with .grad a view of the (zero) flat gradient.
  /// false: none does, and the gradient buffer is freed.
  void set_requires_grad(bool requires_grad);
  bool requires_grad() const { return flat_gradient_.defined(); }
  /// Gradient of flat(), same shape; throws Error before set_requires_grad(true).
  const Tensor& flat_gradient() const;
  /// Sets the whole gradient to 0, in place.
  void zero_gradient();

  /// Overwrites all values with those of `values` (fp32 [parameters()], any device).
  void assign(const Tensor& values);
  /// A set of its own with equal values on `device`, without gradients.
  AdapterSet clone(at::Device device) const;
  /// Key of the first tensor with a NaN or an infinity, "<site path>.lora_down|lora_up|lora_gate"; "" if all are
  /// finite.
  std::string first_non_finite() const;

 private:
  std::vector<Site> sites_;
  int64_t rank_;
  bool gated_;
  Tensor flat_;
  Tensor flat_gradient_;
  std::vector<SiteAdapter> adapters_;
};

}  // namespace jointtuner::adapter

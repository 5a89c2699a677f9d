#include "jointtuner/adapter/adapter_set.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <cmath>
#include <set>
#include <utility>

#include "jointtuner/adapter/trainable_rank.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/generator.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::adapter {
namespace {

void check_sites(const std::vector<Site>& sites, int64_t rank) {
  if (sites.empty()) throw Error("adapters: expected at least one site, found none");
  if (rank < 1) throw Error(fmt::format("adapters: expected a rank of at least 1, found {}", rank));
  std::set<std::string> paths;
  for (const Site& site : sites)
    if (!paths.insert(site.path).second) throw Error(fmt::format("adapters: the site {} occurs twice", site.path));
}

/// Cuts views off the front of a buffer, one after another.
class Cutter {
 public:
  explicit Cutter(Tensor buffer) : buffer_(std::move(buffer)) {}

  Tensor next(int64_t rows, int64_t columns) {
    const Tensor view = buffer_.narrow(0, offset_, rows * columns).view({rows, columns});
    offset_ += rows * columns;
    return view;
  }

 private:
  Tensor buffer_;
  int64_t offset_ = 0;
};

std::vector<SiteAdapter> views(const Tensor& flat, const std::vector<Site>& sites, int64_t rank, bool gated) {
  Cutter cutter(flat);
  std::vector<SiteAdapter> adapters;
  for (const Site& site : sites) {
    SiteAdapter adapter;
    adapter.down = cutter.next(rank, site.in_features);
    if (gated) adapter.gate = cutter.next(1, site.in_features);
    adapter.up = cutter.next(site.out_features, rank);
    adapters.push_back(std::move(adapter));
  }
  return adapters;
}

/// Makes `leaf` a leaf whose gradient is `gradient`, or, when that is undefined, a plain tensor.
void set_gradient(Tensor& leaf, const Tensor& gradient) {
  if (!leaf.defined()) return;
  leaf.mutable_grad() = Tensor();
  leaf.set_requires_grad(gradient.defined());
  if (gradient.defined()) leaf.mutable_grad() = gradient;
}

}  // namespace

AdapterSet::AdapterSet(std::vector<Site> sites, int64_t rank, bool gated, at::Device device)
    : sites_(std::move(sites)), rank_(rank), gated_(gated) {
  check_sites(sites_, rank_);
  int64_t elements = 0;
  for (const Site& site : sites_)
    elements += rank_ * (site.in_features + site.out_features) + (gated_ ? site.in_features : 0);
  flat_ = at::zeros({elements}, at::TensorOptions().dtype(at::kFloat).device(device));
  adapters_ = views(flat_, sites_, rank_, gated_);
}

void AdapterSet::initialize(uint64_t seed, const std::string& gate_init) {
  if (gate_init != "normal" && gate_init != "uniform")
    throw Error(fmt::format("gate_init: expected normal or uniform, found \"{}\"", gate_init));
  check_trainable_rank(sites_, rank_);
  const at::NoGradGuard no_grad;
  const auto rank = static_cast<double>(rank_);
  for (size_t i = 0; i < sites_.size(); ++i) {
    const int64_t width = sites_[i].in_features;
    const at::Generator draws = generator(seed, 0, "adapter/" + sites_[i].path);
    adapters_[i].down.copy_(normal_draw({rank_, width}, draws).div_(rank));
    adapters_[i].up.zero_();
    if (!gated_) continue;
    if (gate_init == "normal") {
      adapters_[i].gate.copy_(normal_draw({1, width}, draws).div_(rank));
    } else {
      adapters_[i].gate.copy_(
          uniform_draw({1, width}, draws).mul_(2).sub_(1).div_(std::sqrt(static_cast<double>(width))));
    }
  }
}

void AdapterSet::set_requires_grad(bool requires_grad) {
  if (requires_grad == this->requires_grad()) return;
  flat_gradient_ = requires_grad ? at::zeros_like(flat_) : Tensor();
  const std::vector<SiteAdapter> gradients =
      requires_grad ? views(flat_gradient_, sites_, rank_, gated_) : std::vector<SiteAdapter>(sites_.size());
  for (size_t i = 0; i < sites_.size(); ++i) {
    set_gradient(adapters_[i].down, gradients[i].down);
    set_gradient(adapters_[i].gate, gradients[i].gate);
    set_gradient(adapters_[i].up, gradients[i].up);
  }
}

const Tensor& AdapterSet::flat_gradient() const {
  if (!flat_gradient_.defined()) throw Error("adapters: no gradients yet; call set_requires_grad(true) first");
  return flat_gradient_;
}

void AdapterSet::zero_gradient() {
  const at::NoGradGuard no_grad;
  flat_gradient().zero_();
}

void AdapterSet::assign(const Tensor& values) {
  check_shape(values, {parameters()}, "adapter values");
  const at::NoGradGuard no_grad;
  flat_.copy_(values);
}

AdapterSet AdapterSet::clone(at::Device device) const {
  AdapterSet copy(sites_, rank_, gated_, device);
  copy.assign(flat_);
  return copy;
}

std::string AdapterSet::first_non_finite() const {
  const auto finite = [](const Tensor& tensor) { return !tensor.defined() || at::isfinite(tensor).all().item<bool>(); };
  if (finite(flat_)) return "";
  for (size_t i = 0; i < sites_.size(); ++i) {
    if (!finite(adapters_[i].down)) return sites_[i].path + ".lora_down";
    if (!finite(adapters_[i].up)) return sites_[i].path + ".lora_up";
    if (!finite(adapters_[i].gate)) return sites_[i].path + ".lora_gate";
  }
  return "";
}

}  // namespace jointtuner::adapter

#include "jointtuner/adapter/joined.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <map>

#include "jointtuner/base/error.h"

namespace jointtuner::adapter {

AdapterSet joined(const AdapterSet& a, double scale_a, const AdapterSet& b, double scale_b) {
  if (a.gated() || b.gated())
    throw Error(
        "gated adapters cannot be joined: each has gates of its own, and a joined one has a single gate a site; train "
        "both with adapter.gate=false, or both concepts in one joint run");
  if (scale_a == 0) throw Error("the first adapter's scale: expected a number other than 0, found 0");
  std::map<std::string, size_t> places;
  for (size_t i = 0; i < b.size(); ++i) places[b.sites()[i].path] = i;
  for (const Site& site : a.sites()) {
    const auto found = places.find(site.path);
    if (found == places.end() || b.sites()[found->second].in_features != site.in_features ||
        b.sites()[found->second].out_features != site.out_features)
      throw Error(fmt::format("the adapters are of different backbones: the second has no site {} [{},{}]", site.path,
                              site.out_features, site.in_features));
  }
  if (a.size() != b.size())
    throw Error(fmt::format("the adapters are of different backbones: {} sites and {}", a.size(), b.size()));

  const at::NoGradGuard no_grad;
  AdapterSet result(a.sites(), a.rank() + b.rank(), false, a.device());
  for (size_t i = 0; i < a.size(); ++i) {
    const SiteAdapter &to = result.at(i), &first = a.at(i), &second = b.at(places.at(a.sites()[i].path));
    to.down.narrow(0, 0, a.rank()).copy_(first.down);
    to.down.narrow(0, a.rank(), b.rank()).copy_(second.down);
    to.up.narrow(1, 0, a.rank()).copy_(first.up);
    to.up.narrow(1, a.rank(), b.rank()).copy_(second.up.mul(scale_b / scale_a));
  }
  return result;
}

}  // namespace jointtuner::adapter

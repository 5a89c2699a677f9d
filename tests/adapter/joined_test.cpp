#include "jointtuner/adapter/joined.h"

#include <gtest/gtest.h>

#include "list_tensors.h"
#include "support/expect_error.h"

namespace jointtuner::adapter {
namespace {

AdapterSet filled(std::vector<Site> sites, int64_t rank, int64_t first) {
  AdapterSet adapters(std::move(sites), rank, false, at::kCPU);
  for (size_t i = 0; i < adapters.size(); ++i) {
    const SiteAdapter& site = adapters.at(i);
    site.down.copy_(list_tensor(first + 2 * static_cast<int64_t>(i), site.down.size(0), site.down.size(1)));
    site.up.copy_(list_tensor(first + 2 * static_cast<int64_t>(i) + 1, site.up.size(0), site.up.size(1)));
  }
  return adapters;
}

const Site kWide{"a.to_q", "spatial", 12, 10}, kDeep{"b.to_k", "temporal", 9, 14};

Tensor update(const AdapterSet& adapters, size_t site, double scale) {
  const SiteAdapter& s = adapters.at(site);
  return s.up.matmul(s.down).mul(scale);
}

TEST(Joined, UpdatesAdd) {
  const AdapterSet a = filled({kWide, kDeep}, 3, 0), b = filled({kDeep, kWide}, 4, 7);  // b in another order
  const AdapterSet both = joined(a, 0.5, b, 2.0);
  EXPECT_EQ(both.rank(), 7);
  EXPECT_EQ(both.sites()[1].path, "b.to_k");
  EXPECT_FALSE(both.gated());
  for (const size_t i : {0u, 1u}) {
    const Tensor expected = update(a, i, 0.5).add(update(b, 1 - i, 2.0));
    EXPECT_LT(update(both, i, 0.5).sub(expected).abs().max().item<double>(), 1e-6);
    EXPECT_GT(update(b, 1 - i, 2.0).abs().max().item<double>(), 0.1);
  }
}

TEST(Joined, NamesWhatCannotBeJoined) {
  const AdapterSet a = filled({kWide, kDeep}, 3, 0);
  EXPECT_ERROR(joined(list_adapters(), 1, a, 1), Error, "gated adapters cannot be joined");
  EXPECT_ERROR(joined(a, 1, list_adapters(), 1), Error, "gated adapters cannot be joined");
  EXPECT_ERROR(joined(a, 0, a, 1), Error, "expected a number other than 0");
  EXPECT_ERROR(joined(a, 1, filled({kWide}, 3, 0), 1), Error, "the second has no site b.to_k [14,9]");
  EXPECT_ERROR(joined(filled({kWide}, 3, 0), 1, a, 1), Error, "1 sites and 2");
  EXPECT_ERROR(joined(a, 1, filled({kWide, {"b.to_k", "temporal", 9, 13}}, 3, 0), 1), Error, "b.to_k [14,9]");
  EXPECT_EQ(joined(a, 1, filled({kWide, kDeep}, 7, 0), 1).rank(), 10);  // above min(9, 14): more than is trained
}

}  // namespace
}  // namespace jointtuner::adapter

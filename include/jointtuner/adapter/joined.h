// Two adapters trained apart as one, for sampling them together ("stage-wise" customization: a subject's adapter and a
// motion's). Exact for plain LoRA, whose updates add:
//
//   scale_a (x Da^T) Ua^T + scale_b (x Db^T) Ub^T = scale_a (x [Da; Db]^T) [Ua, (scale_b / scale_a) Ub]^T
//
// Gated adapters cannot be joined: each has a gate of its own, a joined one has a single gate.
#pragma once
#include "jointtuner/adapter/adapter_set.h"

namespace jointtuner::adapter {

/// The sum of both as a set of rank Ra + Rb whose factor is scale_a; fp32, on the device of `a`, in its order of sites.
/// Throws Error: a set is gated, scale_a is 0, or the sites differ (named).
AdapterSet joined(const AdapterSet& a, double scale_a, const AdapterSet& b, double scale_b);

}  // namespace jointtuner::adapter

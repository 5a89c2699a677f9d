// jointtuner::segment: a node that holds a subgraph and runs it, under a re-entrant checkpoint where gradients are
// recorded. Private to inject.
#pragma once
#include <ATen/core/symbol.h>

namespace jointtuner::inject {

// Kind of a segment node, whose operator is registered on the first call. The node has the subgraph as attribute
// `Subgraph` and the truth value `checkpoint` (int); inputs and outputs are the subgraph's, outputs are tensors.
//
// With grad mode off, or no input that requires a gradient, the subgraph simply runs. Else, with `checkpoint`, it runs
// without recording, only the inputs are kept, and backward runs it again with recording and differentiates that;
// without, it runs with recording. Both ways see the same inputs and the graph holds no source of randomness other than
// seeds that are inputs. A value used several times inside and also outside gets its gradients summed inside first in
// both ways, so gradients are equal bit for bit.
c10::Symbol segment_kind();

}  // namespace jointtuner::inject

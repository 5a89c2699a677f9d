// jointtuner::segment: a node that holds a subgraph and runs it, under a re-entrant checkpoint where gradients are
// recorded. Private to inject.
#pragma once
#include <ATen/core/ivalue.h>
#include <ATen/core/symbol.h>

#include <vector>

#include "jointtuner/inject/graph_program.h"
#include "offload.h"

namespace jointtuner::inject {

/// What one run of a program tells its segments: a capsule, the last input of each segment node.
struct SegmentRun : torch::CustomClassHolder {
  SegmentRun(std::vector<SegmentMemory> memory_, std::shared_ptr<HostMemory> host)
      : memory(std::move(memory_)), offloaded(std::move(host)) {}

  const std::vector<SegmentMemory> memory;  ///< of each segment
  OffloadedInputs offloaded;
};

/// Kind of a segment node, whose operator is registered on the first call. The node has the subgraph as attribute
/// `Subgraph` and its place among the program's segments as `segment` (int); inputs are the subgraph's and the run,
/// outputs are the subgraph's, tensors.
///
/// With grad mode off, or no input that requires a gradient, the subgraph simply runs. Else, for SegmentMemory::keep,
/// it runs with recording; for the others it runs without, only the inputs are kept, on the device or in host memory,
/// and backward runs it again with recording and differentiates that. All ways see the same inputs and the graph holds
/// no source of randomness other than seeds that are inputs. A value used several times inside and also outside gets
/// its gradients summed inside first in all ways, so gradients are equal bit for bit.
c10::Symbol segment_kind();

}  // namespace jointtuner::inject

#include "jointtuner/inject/segment_watch.h"

#include <utility>

namespace jointtuner::inject {
namespace {

thread_local SegmentWatch* innermost = nullptr;

}  // namespace

SegmentWatch::SegmentWatch(std::function<void(size_t segment)> after) : after_(std::move(after)), outer_(innermost) {
  innermost = this;
}

SegmentWatch::~SegmentWatch() { innermost = outer_; }

void SegmentWatch::see(size_t segment) {
  if (innermost) innermost->after_(segment);
}

}  // namespace jointtuner::inject

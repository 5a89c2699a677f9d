// What the segments of a forward pass hold, for whoever measures it.
#pragma once
#include <cstddef>
#include <functional>

namespace jointtuner::inject {

/// While it lives, `after(segment)` is called after each checkpoint segment that runs forward and records gradients on
/// this thread, with its place in GraphProgram::segment_names(); not when backward runs it again. Watches nest; the
/// innermost sees.
class SegmentWatch {
 public:
  explicit SegmentWatch(std::function<void(size_t segment)> after);
  ~SegmentWatch();
  SegmentWatch(const SegmentWatch&) = delete;
  SegmentWatch& operator=(const SegmentWatch&) = delete;

  /// For the segments: tells the innermost watch of this thread, if there is one.
  static void see(size_t segment);

 private:
  std::function<void(size_t)> after_;
  SegmentWatch* outer_;
};

}  // namespace jointtuner::inject

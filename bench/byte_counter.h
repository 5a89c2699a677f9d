// Counts the bytes that the operators of a piece of work move, at the dispatcher: what each reads and writes once.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace jointtuner::bench {

struct Moved {
  int64_t read = 0, written = 0;
  int64_t total() const { return read + written; }
};

/// While it lives, every operator that reaches a kernel on this thread is counted: the distinct elements of its tensor
/// arguments as read, those of its results and of arguments it changes as written. Not counted: views, allocations,
/// operators that only call others (those are counted instead), and what an operator calls inside. An argument that is
/// written without being read (copy_, fill_, zero_, out=) counts as written alone. One at a time.
///
/// With `own`, which gives what the project's kernels moved since it was last called, the project's operators count as
/// that and as the operators that they call.
class ByteCounter {
 public:
  explicit ByteCounter(std::function<Moved()> own = {});
  ~ByteCounter();
  ByteCounter(const ByteCounter&) = delete;
  ByteCounter& operator=(const ByteCounter&) = delete;

  /// Of all operators, to be asked once.
  Moved sum() const;
  bool opens_own() const { return static_cast<bool>(own_); }
  const std::map<std::string, Moved>& by_operator() const { return by_operator_; }
  void add(const std::string& name, const Moved& moved);

 private:
  std::function<Moved()> own_;
  std::map<std::string, Moved> by_operator_;
};

}  // namespace jointtuner::bench

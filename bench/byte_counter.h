// Counts the bytes that the operators of a piece of work move, at the dispatcher: what each reads and writes once.
#pragma once
#include <cstdint>
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
class ByteCounter {
 public:
  ByteCounter();
  ~ByteCounter();
  ByteCounter(const ByteCounter&) = delete;
  ByteCounter& operator=(const ByteCounter&) = delete;

  Moved sum() const;
  const std::map<std::string, Moved>& by_operator() const { return by_operator_; }
  void add(const std::string& name, const Moved& moved);

 private:
  std::map<std::string, Moved> by_operator_;
};

}  // namespace jointtuner::bench

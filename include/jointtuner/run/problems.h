// A list of everything that is wrong: what is thrown while something is looked at joins it, and the looking goes on.
#pragma once
#include <c10/util/Exception.h>

#include <string>
#include <utility>
#include <vector>

#include "jointtuner/base/error.h"

namespace jointtuner::run {

class Problems {
 public:
  void add(std::string problem) { found_.push_back(std::move(problem)); }

  /// Calls `look`; what it throws becomes a problem. True when it threw nothing.
  template <class Look>
  bool attempt(Look&& look) {
    try {
      look();
      return true;
    } catch (const Error& error) {
      add(error.what());
    } catch (const c10::Error& error) {
      add(error.what_without_backtrace());
    }
    return false;
  }

  const std::vector<std::string>& found() const { return found_; }

 private:
  std::vector<std::string> found_;
};

}  // namespace jointtuner::run

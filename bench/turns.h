// Times of alternatives on a machine that is not quiet: each is timed once a round, the rounds go in turns, and ratios
// are taken within a round, so that a slow spell meets all of them.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <vector>

namespace jointtuner::bench {

/// The middle value, the upper one of two. @pre values is not empty
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Medians over the rounds, in the unit of the timers.
template <size_t N>
struct Medians {
  std::array<double, N> time, first_to;  ///< first_to[i]: the first's time over the i-th's, within a round
};

/// Runs every timer once a round, after one round that warms up; a timer does its work and returns the time it took.
template <size_t N>
Medians<N> take_turns(const std::array<std::function<double()>, N>& timers, int rounds) {
  std::array<std::vector<double>, N> times, ratios;
  for (int round = -1; round < rounds; ++round) {
    std::array<double, N> one;
    for (size_t i = 0; i < N; ++i) one[i] = timers[i]();
    if (round < 0) continue;
    for (size_t i = 0; i < N; ++i) {
      times[i].push_back(one[i]);
      ratios[i].push_back(one[0] / one[i]);
    }
  }
  Medians<N> result;
  for (size_t i = 0; i < N; ++i) {
    result.time[i] = median(times[i]);
    result.first_to[i] = median(ratios[i]);
  }
  return result;
}

}  // namespace jointtuner::bench

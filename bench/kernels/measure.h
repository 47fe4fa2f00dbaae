#pragma once

#include <ctime>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace motley {

/// One way of doing the same work.
struct Contender {
  std::string name;
  std::function<void()> work;
};

/// CPU time of this thread: what other programs on the machine do counts only through the caches and the memory bus.
inline double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Quartiles {
  double low, median, high;
};

inline Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 4], values[values.size() / 2], values[values.size() * 3 / 4]};
}

/// Prints the time of each contender, its bandwidth over `bytes` read and written (0: left out), and how many times as
/// fast as the first it is. Rounds interleave the contenders, and ratios are taken within a round.
inline void compare(const std::string& title, double bytes, const std::vector<Contender>& contenders, int rounds = 31) {
  std::vector<std::vector<double>> seconds(contenders.size());
  int repeats = 1;
  for (int round = -2; round < rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const double start = cpu_seconds();
      for (int repeat = 0; repeat < repeats; ++repeat) {
        contenders[i].work();
      }
      const double each = (cpu_seconds() - start) / repeats;
      if (round == -1 && i == 0) {
        repeats = std::clamp(static_cast<int>(2e-3 / each), 1, 10000);  // long enough for the clock
      }
      if (round >= 0) {
        seconds[i].push_back(each);
      }
    }
  }
  std::printf("%s\n", title.c_str());
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < seconds[i].size(); ++round) {
      ratios.push_back(seconds[0][round] / seconds[i][round]);
    }
    const double median = quartiles(seconds[i]).median;
    const Quartiles ratio = quartiles(ratios);
    std::printf("  %-44s %9.1f us", contenders[i].name.c_str(), median * 1e6);
    if (bytes > 0) {
      std::printf("  %6.1f GB/s", bytes / median * 1e-9);
    }
    std::printf("  x %5.2f  (%.2f to %.2f)\n", ratio.median, ratio.low, ratio.high);
  }
}

}  // namespace motley

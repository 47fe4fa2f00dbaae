#include "motley/profiler/bursts.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace motley {
namespace {

/// A thread that has `share` of a processor, and whole `credit` ahead of that after each pause, in pieces of 1 ms.
PausedWork limited(double share, Seconds credit, int pauses = 5) {
  PausedWork work;
  work.share = share;
  for (int pause = 0; pause < pauses; ++pause) {
    std::vector<double>& ends = work.ends.emplace_back();
    for (int piece = 1; piece <= 200; ++piece) {
      const double steady = piece * 0.001;
      ends.push_back(steady - std::min(credit.value, steady * (1.0 - share)));
    }
  }
  return work;
}

TEST(Bursts, AreHowFarWorkAfterAPauseGetsAhead) {
  const Burst burst = burst_of(limited(0.2, Seconds{0.016}));
  EXPECT_NEAR(burst.credit.value, 0.016, 1e-12);
  EXPECT_DOUBLE_EQ(burst.speed_up, 5.0);
}

TEST(Bursts, AStallInAPauseOrTwoDoesNotCount) {
  PausedWork work = limited(0.4, Seconds{0.006});
  for (const std::size_t stalled : {1U, 3U}) {
    for (double& end : work.ends[stalled]) end += 0.05;
  }
  EXPECT_NEAR(burst_of(work).credit.value, 0.006, 1e-12);
}

TEST(Bursts, AreNoneWhereAThreadHasItsProcessorOrIsNoQuicker) {
  EXPECT_EQ(burst_of(limited(0.96, Seconds{0.016})).credit, Seconds{});
  PausedWork slower = limited(0.5, Seconds{});
  for (std::vector<double>& ends : slower.ends) {
    for (double& end : ends) end += 0.002;  // caches went cold
  }
  EXPECT_EQ(burst_of(slower).credit, Seconds{});
  EXPECT_DOUBLE_EQ(burst_of(slower).speed_up, 1.0);
  EXPECT_EQ(burst_of({}).credit, Seconds{});
}

}  // namespace
}  // namespace motley

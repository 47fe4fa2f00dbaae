#include "motley/device/pacing.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>

#include "motley/base/error.h"

namespace motley {
namespace {

double cpu_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void burn(double seconds) {
  const double end_s = cpu_s() + seconds;
  while (cpu_s() < end_s) {
  }
}

TEST(Pacer, TakesAtLeastCpuTimeOverSpeed) {
  Pacer pacer(0.25);
  const double start_s = wall_s();
  for (int i = 0; i < 10; ++i) {
    pacer.run([] { burn(0.002); });
  }
  // 20 ms of work at a quarter of a core are 80 ms; lateness carried over may be taken off the last piece only.
  EXPECT_GE(wall_s() - start_s + pacer.carried().value, 0.0799);
}

TEST(Pacer, GivesBackWhatWorkReturns) {
  Pacer pacer(0.5);
  EXPECT_EQ(pacer.run([] { return 7; }), 7);
}

TEST(Pacer, CarriesNoLatenessWhenNothingIsEmulated) {
  Pacer pacer;
  EXPECT_FALSE(pacer.emulates());
  EXPECT_FALSE(Pacer(1.0).emulates());
  EXPECT_EQ(pacer.run([] { return 1; }), 1);
  EXPECT_EQ(pacer.carried(), Seconds{0.0});
}

TEST(Pacer, RefusesSpeedsOutsideZeroToOne) {
  EXPECT_THROW(Pacer(0.0), InputError);
  EXPECT_THROW(Pacer(1.5), InputError);
  EXPECT_THROW(Pacer(-1.0), InputError);
}

}  // namespace
}  // namespace motley

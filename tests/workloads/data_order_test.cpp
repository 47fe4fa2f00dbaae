#include "motley/workloads/data_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace motley {
namespace {

std::vector<std::int64_t> stream(std::uint64_t seed, std::int64_t steps, std::int64_t batch, std::int64_t size) {
  std::vector<std::int64_t> all;
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto samples = samples_of_step(seed, step, batch, size);
    all.insert(all.end(), samples.begin(), samples.end());
  }
  return all;
}

TEST(SamplesOfStep, VisitsEachSampleOnceAnEpoch) {
  for (const std::int64_t size : {1, 2, 5, 16, 17, 100, 1000}) {
    const auto all = stream(3, 3 * size, 1, size);
    for (int epoch = 0; epoch < 3; ++epoch) {
      const std::set<std::int64_t> seen(all.begin() + epoch * size, all.begin() + (epoch + 1) * size);
      EXPECT_EQ(static_cast<std::int64_t>(seen.size()), size);
      EXPECT_EQ(*seen.begin(), 0);
      EXPECT_EQ(*seen.rbegin(), size - 1);
    }
  }
}

TEST(SamplesOfStep, IsOneStreamWhateverTheBatch) {
  EXPECT_EQ(stream(5, 30, 7, 50), stream(5, 7, 30, 50));
}

TEST(SamplesOfStep, DiffersByEpochAndSeed) {
  EXPECT_NE(samples_of_step(1, 0, 100, 100), samples_of_step(1, 1, 100, 100));
  EXPECT_NE(samples_of_step(1, 0, 100, 100), samples_of_step(2, 0, 100, 100));
}

}  // namespace
}  // namespace motley

#include "motley/profiler/links.h"

#include <gtest/gtest.h>

#include "ranks.h"

namespace motley {
namespace {

TEST(MeasureLinks, FindsDirectedRatesAndLatenciesOfEmulatedLinks) {
  CommOptions options = with_deadline(20);
  options.emulated_links = {{0, 1, BytesPerSecond{20e6}, Seconds{0.002}}, {1, 0, BytesPerSecond{80e6}, Seconds{0.001}}};
  std::vector<std::vector<TransferCurve>> links;
  run_ranks(2, options, [&](Communicator& communicator) {
    auto measured = measure_links(communicator, {}, 3).links;
    if (communicator.rank() == 1) {
      links = std::move(measured);
    }
  });
  ASSERT_EQ(links.size(), 2U);
  // A link is never faster than it is emulated; how much slower depends on the machine's load, which no test asserts.
  constexpr Bytes kMegabyte{1'048'576};
  EXPECT_GE(links[0][1].time(kMegabyte).value, 0.99 * (0.002 + 1.048576 / 20) - 0.0015);
  EXPECT_GE(links[1][0].time(kMegabyte).value, 0.99 * (0.001 + 1.048576 / 80) - 0.0015);
  EXPECT_GT(links[0][1].time(kMegabyte), links[1][0].time(kMegabyte));
  EXPECT_TRUE(links[0][0].points().empty());
  EXPECT_TRUE(links[1][1].points().empty());
}

TEST(MeasureLinks, IsCompleteOnEveryRankAndNeverFasterForMore) {
  run_ranks(3, with_deadline(20), [](Communicator& communicator) {
    const auto links = measure_links(communicator, {}, 3).links;
    for (int a = 0; a < 3; ++a) {
      for (int b = 0; b < 3; ++b) {
        const auto& points = links[static_cast<std::size_t>(a)][static_cast<std::size_t>(b)].points();
        EXPECT_EQ(points.empty(), a == b);
        for (std::size_t i = 0; i < points.size(); ++i) {
          EXPECT_GT(points[i].time.value, 0.0);
          EXPECT_TRUE(i == 0 || points[i].time >= points[i - 1].time);
        }
      }
    }
    EXPECT_GT(measure_norm_exchange(communicator, 16, 5).value, 0.0);
  });
}

TEST(MeasureAllReduce, IsMeasuredInEveryGroupAndKnownToAll) {
  run_ranks(3, with_deadline(20), [](Communicator& communicator) {
    const auto measured = measure_groups(communicator, {}, {{0, 1, 2}, {0, 2}}, 3).all_reduce;
    ASSERT_EQ(measured.size(), 2U);
    EXPECT_EQ(measured[1].devices, (std::vector<int>{0, 2}));
    for (const AllReduce& group : measured) {
      const auto& points = group.time.points();
      ASSERT_GE(points.size(), 3U);
      for (std::size_t i = 0; i < points.size(); ++i) {
        EXPECT_GT(points[i].time.value, 0.0);
        EXPECT_TRUE(i == 0 || points[i].time >= points[i - 1].time);
      }
    }
  });
}

}  // namespace
}  // namespace motley

#include "motley/base/median.h"

#include <gtest/gtest.h>

namespace motley {
namespace {

TEST(SpreadOf, IsMedianAndInterQuartileRangeOverIt) {
  EXPECT_DOUBLE_EQ(spread_of({3.0}).median, 3.0);
  EXPECT_DOUBLE_EQ(spread_of({3.0}).relative, 0.0);
  EXPECT_DOUBLE_EQ(spread_of({4.0, 1.0}).median, 2.5);
  const Spread spread = spread_of({9.0, 1.0, 5.0, 3.0, 100.0});  // 1 3 5 9 100
  EXPECT_DOUBLE_EQ(spread.median, 5.0);
  EXPECT_DOUBLE_EQ(spread.relative, (9.0 - 3.0) / 5.0);
}

TEST(SpreadOf, OfZerosIsZero) {
  EXPECT_DOUBLE_EQ(spread_of({0.0, 0.0, 0.0}).relative, 0.0);
}

TEST(Median, IsTheMiddleOrTheMeanOfTheTwoThere) {
  EXPECT_DOUBLE_EQ(median({}), 0.0);
  EXPECT_DOUBLE_EQ(median({3.0, 1.0, 2.0}), 2.0);
  EXPECT_DOUBLE_EQ(median({4.0, 1.0, 2.0, 8.0}), 3.0);
  EXPECT_EQ(median_of({{1.0, 8.0}, {3.0, 2.0}}), (std::vector<double>{2.0, 5.0}));
}

}  // namespace
}  // namespace motley

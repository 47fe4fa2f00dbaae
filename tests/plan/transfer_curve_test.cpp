#include <gtest/gtest.h>

#include "motley/base/error.h"
#include "motley/plan/transfer_curve.h"

namespace motley {
namespace {

TEST(TransferCurve, IsLatencyPlusBytesOverRate) {
  const TransferCurve curve(Seconds{0.001}, BytesPerSecond{1e6});
  EXPECT_NEAR(curve.time(Bytes{500'000}).value, 0.501, 1e-12);
  EXPECT_NEAR(curve.time(Bytes{3'000'000}).value, 3.001, 1e-12);
  EXPECT_EQ(curve.time(Bytes{0}).value, 0.0);
}

TEST(TransferCurve, GoesStraightBetweenPointsAndOnBeyondTheLast) {
  const TransferCurve curve({{Bytes{10}, Seconds{1.0}}, {Bytes{20}, Seconds{2.0}}, {Bytes{40}, Seconds{6.0}}});
  EXPECT_DOUBLE_EQ(curve.time(Bytes{5}).value, 1.0);
  EXPECT_DOUBLE_EQ(curve.time(Bytes{15}).value, 1.5);
  EXPECT_DOUBLE_EQ(curve.time(Bytes{30}).value, 4.0);
  EXPECT_DOUBLE_EQ(curve.time(Bytes{50}).value, 8.0);
}

TEST(TransferCurve, RefusesPointsOutOfOrder) {
  EXPECT_THROW(TransferCurve({{Bytes{10}, Seconds{1.0}}, {Bytes{10}, Seconds{2.0}}}), InputError);
  EXPECT_THROW(TransferCurve({{Bytes{10}, Seconds{2.0}}, {Bytes{20}, Seconds{1.0}}}), InputError);
  EXPECT_THROW(TransferCurve(std::vector<TransferCurve::Point>{}), InputError);
  EXPECT_THROW(TransferCurve(Seconds{0.0}, BytesPerSecond{0.0}), InputError);
}

}  // namespace
}  // namespace motley

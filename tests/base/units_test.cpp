#include "motley/base/units.h"

#include <gtest/gtest.h>

namespace motley {
namespace {

TEST(Units, BytesOverRateIsTime) {
  EXPECT_DOUBLE_EQ((Bytes{2'000'000} / BytesPerSecond{1e6}).value, 2.0);
}

TEST(Units, SecondsOverSecondsIsARatio) {
  EXPECT_DOUBLE_EQ(Seconds{3.0} / Seconds{1.5}, 2.0);
  EXPECT_LT(1.0_ms, 1.0_s);
}

TEST(Units, BytesAddWithoutRounding) {
  Bytes total{(std::int64_t{1} << 53) + 1};
  total += 2_B;
  EXPECT_EQ(total.value, (std::int64_t{1} << 53) + 3);
}

}  // namespace
}  // namespace motley

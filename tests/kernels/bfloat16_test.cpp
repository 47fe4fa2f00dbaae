#include "motley/kernels/bfloat16/bfloat16.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/device_array.h"

namespace motley::kernels {
namespace {

using MOTLEY_KERNEL_SPACE::ConversionVersion;

float float_of(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Nearest by trying: of the candidates around the value the closest, the even one of two that are as close.
std::uint16_t nearest(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  const auto below = static_cast<std::uint16_t>(bits >> 16);
  const auto above = static_cast<std::uint16_t>(below + 1);
  // What is as large as the next power of two after the largest number counts as infinity (IEEE 754, 4.3.1).
  const double low = float_of(below);
  const double high = std::isinf(float_of(above)) ? std::copysign(0x1p128, value) : float_of(above);
  const double to_low = std::abs(value - low);
  const double to_high = std::abs(value - high);
  if (to_low != to_high) return to_low < to_high ? below : above;
  return below % 2 == 0 ? below : above;
}

std::vector<float> values(std::size_t count) {
  std::vector<float> some = {0.0F, -0.0F, 1.0F, 1.00390625F, 1.01171875F, -1.00390625F, 3.4e38F, 1e-40F, 3.3895314e38F};
  std::mt19937 random(3);
  while (some.size() < count) {
    const auto bits = static_cast<std::uint32_t>(random());
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    if (std::isfinite(value)) some.push_back(value);
  }
  some.resize(count);
  return some;
}

TEST(Bfloat16, EveryVersionRoundsToTheNearestAndWidensExactly) {
  for (const std::size_t count : {0, 1, 5, 1024, 4099}) {
    const std::vector<float> wide = values(count);
    std::vector<std::uint16_t> expected;
    for (const float value : wide) expected.push_back(nearest(value));
    std::vector<float> back;
    for (const std::uint16_t half : expected) back.push_back(float_of(half));

    std::vector<std::uint16_t> halves(count);
    narrow_on_cpu(wide.data(), count, halves.data());
    EXPECT_EQ(halves, expected);
    std::vector<float> widened(count);
    widen_on_cpu(expected.data(), count, widened.data());
    EXPECT_EQ(widened, back);
    for (const auto version : {ConversionVersion::Plain, ConversionVersion::Vectorised}) {
      DeviceArray<float> from(wide), to(count);
      DeviceArray<std::uint16_t> between(count);
      ASSERT_EQ(MOTLEY_KERNEL_SPACE::narrow(version, from.data(), count, between.data(), nullptr), 0);
      ASSERT_EQ(MOTLEY_KERNEL_SPACE::widen(version, between.data(), count, to.data(), nullptr), 0);
      EXPECT_EQ(between.host(), expected);
      EXPECT_EQ(to.host(), back);
      EXPECT_TRUE(between.intact_behind() && to.intact_behind());
    }
  }
}

TEST(Bfloat16, InfinityAndNaNStay) {
  const std::vector<float> odd = {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                                  std::numeric_limits<float>::quiet_NaN(), float_of(0x7f80) * 0.0F};
  std::vector<std::uint16_t> halves(odd.size());
  narrow_on_cpu(odd.data(), odd.size(), halves.data());
  EXPECT_EQ(halves[0], 0x7f80);
  EXPECT_EQ(halves[1], 0xff80);
  EXPECT_TRUE(std::isnan(float_of(halves[2])) && std::isnan(float_of(halves[3])));
}

}  // namespace
}  // namespace motley::kernels

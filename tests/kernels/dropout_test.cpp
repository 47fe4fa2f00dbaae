#include "motley/kernels/dropout/dropout.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device_array.h"
#include "kernels/optimizer_state.h"

namespace motley::kernels {
namespace {

using MOTLEY_KERNEL_SPACE::DropoutVersion;

std::vector<float> waves(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i % 89) + 0.5F);
  return values;
}

/// Compared as such, -0 is not 0.
template <typename Value>
std::vector<unsigned char> bits(const std::vector<Value>& values) {
  std::vector<unsigned char> bytes(values.size() * sizeof(Value));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <typename Value>
void expect_all_alike(const std::vector<Value>& values, Element element, std::size_t samples, std::size_t width,
                      const DropoutMask& mask) {
  SCOPED_TRACE(std::to_string(samples) + " x " + std::to_string(width) + ", threshold " +
               std::to_string(mask.threshold) + (element == Element::Float32 ? ", float32" : ", bfloat16"));
  std::vector<Value> expected(values.size());
  dropout_reference(values.data(), element, samples, width, mask, expected.data());

  std::vector<Value> on_cpu = values;
  dropout_on_cpu(on_cpu.data(), element, samples, width, mask, on_cpu.data());  // in place
  EXPECT_EQ(bits(on_cpu), bits(expected));
  for (const auto version : {DropoutVersion::Plain, DropoutVersion::Vectorised}) {
    if (version == DropoutVersion::Vectorised && width % 4 != 0) continue;
    DeviceArray<Value> from(values), to(values.size());
    ASSERT_EQ(MOTLEY_KERNEL_SPACE::dropout(version, from.data(), element, samples, width, mask, to.data(), nullptr), 0);
    EXPECT_EQ(bits(to.host()), bits(expected)) << static_cast<int>(version);
    EXPECT_EQ(bits(from.host()), bits(values));
    EXPECT_TRUE(from.intact_behind() && to.intact_behind());
  }
}

TEST(Dropout, EveryVersionGivesTheSameBits) {
  for (const auto& [samples, width] :
       {std::pair<std::size_t, std::size_t>{0, 8}, {3, 0}, {1, 1}, {5, 4}, {9, 30}, {3, 257}, {6, 260}, {2, 1028}}) {
    const std::vector<float> values = waves(samples * width);
    for (const std::uint32_t threshold : {0U, 1U, 6554U, 32768U, 65535U}) {
      const DropoutMask mask{0x1234567890abcdefULL + samples, 11, threshold};
      expect_all_alike(values, Element::Float32, samples, width, mask);
      expect_all_alike(rounded(values), Element::BFloat16, samples, width, mask);
    }
  }
}

TEST(Dropout, ManyNarrowRowsAndFewWideOnes) {
  expect_all_alike(waves(1031), Element::Float32, 1031, 1, {5, 0, 20000});
  expect_all_alike(waves(2 * 5000), Element::Float32, 2, 5000, {5, 0, 20000});
}

TEST(Dropout, KeepsTheMeanAndDropsAsOftenAsAsked) {
  const std::size_t samples = 64;
  const std::size_t width = 1000;
  const std::vector<float> ones(samples * width, 1.0F);
  for (const std::uint32_t threshold : {655U, 6554U, 32768U, 62259U}) {
    std::vector<float> dropped(ones.size());
    dropout_on_cpu(ones.data(), Element::Float32, samples, width, {7, 0, threshold}, dropped.data());
    const double kept = 1.0 - threshold / 65536.0;
    const auto scale = static_cast<float>(65536.0 / (65536.0 - threshold));
    double found = 0.0;
    for (const float value : dropped) {
      EXPECT_TRUE(value == 0.0F || value == scale) << value;
      found += value == scale;
    }
    // Five deviations of a binomial.
    const auto count = static_cast<double>(ones.size());
    EXPECT_NEAR(found / count, kept, 5.0 * std::sqrt(kept * (1.0 - kept) / count)) << threshold;
  }
}

TEST(Dropout, ASampleIsDroppedAlikeWhereverItLies) {
  const std::size_t width = 36;
  const std::vector<float> ones(10 * width, 1.0F);
  std::vector<float> whole(ones.size()), part(4 * width), other(ones.size());
  dropout_on_cpu(ones.data(), Element::Float32, 10, width, {3, 0, 32768}, whole.data());
  dropout_on_cpu(ones.data(), Element::Float32, 4, width, {3, 6, 32768}, part.data());
  const auto row = [&](std::size_t sample) {
    return std::vector<float>(whole.data() + sample * width, whole.data() + (sample + 1) * width);
  };
  EXPECT_EQ(std::vector<float>(whole.data() + 6 * width, whole.data() + 10 * width), part);
  dropout_on_cpu(ones.data(), Element::Float32, 10, width, {4, 0, 32768}, other.data());
  EXPECT_NE(whole, other);
  EXPECT_NE(row(0), row(1));
}

TEST(Dropout, WhatIsNotFiniteStaysVisible) {
  const std::size_t width = 64;
  std::vector<float> values(width, std::numeric_limits<float>::infinity());
  std::vector<float> dropped(width);
  dropout_on_cpu(values.data(), Element::Float32, 1, width, {1, 0, 32768}, dropped.data());
  for (const float value : dropped) EXPECT_FALSE(std::isfinite(value));
}

}  // namespace
}  // namespace motley::kernels

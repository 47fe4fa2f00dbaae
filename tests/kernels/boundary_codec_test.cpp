#include "motley/kernels/boundary_codec/boundary_codec.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/device_array.h"
#include "motley/kernels/boundary_codec/format.h"

namespace motley::kernels {
namespace {

using MOTLEY_KERNEL_SPACE::CodecVersion;

/// Magnitudes from 1e-3 to 1e3, a block of zeros, an exact power, a value far above its block.
std::vector<float> activations(std::size_t count) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = normal(random) * std::pow(10.0F, static_cast<float>(i / kCodecBlock % 7) - 3.0F);
    if (i / kCodecBlock % 5 == 4) values[i] = 0.0F;
  }
  if (count > 10) values[10] = 1000.0F;
  return values;
}

struct Input {
  Element element;
  std::vector<float> values;          // as the codec sees them
  std::vector<std::uint16_t> halves;  // of bfloat16

  Input(Element e, std::vector<float> from) : element(e), values(std::move(from)) {
    for (float& value : values) {
      halves.push_back(codec::to_bfloat16(value));
      if (element == Element::BFloat16) value = codec::from_bfloat16(halves.back());
    }
  }
  const void* data() const {
    return element == Element::Float32 ? static_cast<const void*>(values.data())
                                       : static_cast<const void*>(halves.data());
  }
};

class BoundaryCodec : public testing::TestWithParam<std::tuple<Element, Rounding, std::size_t>> {};

TEST_P(BoundaryCodec, EveryVersionEqualsThePlainLoopBitForBit) {
  const auto [element, rounding, count] = GetParam();
  const Input input(element, activations(count));
  std::vector<char> expected(encoded_bytes(count));
  encode_reference(input.data(), element, count, rounding, 7, expected.data());
  std::vector<char> decoded(count * (element == Element::Float32 ? 4 : 2));
  decode_reference(expected.data(), count, element, decoded.data());

  // At an odd address, as behind a header on the wire.
  std::vector<char> on_cpu(expected.size() + 2, 0x5a);
  encode_on_cpu(input.data(), element, count, rounding, 7, on_cpu.data() + 1);
  EXPECT_EQ(std::vector<char>(on_cpu.begin() + 1, on_cpu.end() - 1), expected);
  EXPECT_TRUE(on_cpu.front() == 0x5a && on_cpu.back() == 0x5a);
  std::vector<char> back_on_cpu(decoded.size() + 1, 0x5a);
  decode_on_cpu(on_cpu.data() + 1, count, element, back_on_cpu.data());
  EXPECT_EQ(back_on_cpu.back(), 0x5a);
  back_on_cpu.pop_back();
  EXPECT_EQ(back_on_cpu, decoded);

  const auto* bytes = static_cast<const char*>(input.data());
  DeviceArray<char> values(std::vector<char>(bytes, bytes + decoded.size()));
  for (const CodecVersion version : {CodecVersion::Plain, CodecVersion::Vectorised}) {
    DeviceArray<char> codes(expected.size());
    ASSERT_EQ(encode(version, values.data(), element, count, rounding, 7, codes.data(), nullptr), 0);
    EXPECT_EQ(codes.host(), expected);
    EXPECT_TRUE(codes.intact_behind());
    DeviceArray<char> back(decoded.size());
    ASSERT_EQ(decode(version, codes.data(), count, element, back.data(), nullptr), 0);
    EXPECT_EQ(back.host(), decoded);
    EXPECT_TRUE(back.intact_behind());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, BoundaryCodec,
                         testing::Combine(testing::Values(Element::Float32, Element::BFloat16),
                                          testing::Values(Rounding::Nearest, Rounding::Stochastic),
                                          testing::Values(0, 1, 3, 63, 64, 65, 127, 1000, 4096, 4103)));

std::vector<float> round_trip(const std::vector<float>& values, Rounding rounding, std::uint64_t seed) {
  std::vector<char> codes(encoded_bytes(values.size()));
  encode_on_cpu(values.data(), Element::Float32, values.size(), rounding, seed, codes.data());
  std::vector<float> decoded(values.size());
  decode_on_cpu(codes.data(), values.size(), Element::Float32, decoded.data());
  return decoded;
}

TEST(BoundaryCodecError, IsAtMostHalfAStepToNearestAndBelowOneStochastically) {
  const std::vector<float> values = activations(4096);
  const std::vector<float> nearest = round_trip(values, Rounding::Nearest, 1);
  const std::vector<float> stochastic = round_trip(values, Rounding::Stochastic, 1);
  for (std::size_t begin = 0; begin < values.size(); begin += kCodecBlock) {
    float largest = 0.0F;
    for (std::size_t i = begin; i < begin + kCodecBlock; ++i) largest = std::max(largest, std::abs(values[i]));
    const float step = largest / 127.0F;
    for (std::size_t i = begin; i < begin + kCodecBlock; ++i) {
      EXPECT_LE(std::abs(nearest[i] - values[i]), step * 0.5001F) << i;
      EXPECT_LE(std::abs(stochastic[i] - values[i]), step * 1.0001F) << i;
    }
  }
}

TEST(BoundaryCodecError, StochasticRoundingHasNoBias) {
  std::vector<float> values(kCodecBlock);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.013F * static_cast<float>(i);
  const float step = values.back() / 127.0F;
  constexpr int kSeeds = 4000;
  std::vector<double> sums(values.size());
  for (int seed = 0; seed < kSeeds; ++seed) {
    const std::vector<float> decoded = round_trip(values, Rounding::Stochastic, static_cast<std::uint64_t>(seed));
    for (std::size_t i = 0; i < values.size(); ++i) sums[i] += decoded[i];
  }
  // A draw's deviation is at most step / 2; six deviations of the mean.
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(sums[i] / kSeeds, values[i], 6.0 * 0.5 * step / std::sqrt(double{kSeeds})) << i;
  }
}

// Draws of a block, in the order of its values: a value of 0.5 between codes is rounded up where the draw is 0.5 or
// more.
std::vector<int> draws(std::uint64_t seed, std::size_t blocks) {
  std::vector<float> values(blocks * kCodecBlock, 0.5F);
  for (std::size_t block = 0; block < blocks; ++block) values[block * kCodecBlock] = 127.0F;
  const std::vector<float> decoded = round_trip(values, Rounding::Stochastic, seed);
  std::vector<int> up;
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    if (i % kCodecBlock != 0) up.push_back(decoded[i] > 0.5F ? 1 : 0);
  }
  return up;
}

TEST(BoundaryCodecError, DrawsOfNeighboursBlocksAndSeedsAreIndependent) {
  constexpr std::size_t kBlocks = 4000;
  constexpr std::size_t kABlock = kCodecBlock - 1;
  const std::vector<int> one = draws(1, kBlocks), two = draws(2, kBlocks);
  const auto agreement = [](const std::vector<int>& a, const std::vector<int>& b, std::size_t shift) {
    double same = 0;
    for (std::size_t i = shift; i < a.size(); ++i) same += a[i] == b[i - shift] ? 1 : 0;
    return same / static_cast<double>(a.size() - shift);
  };
  const double deviation = 0.5 / std::sqrt(static_cast<double>(one.size()));
  EXPECT_NEAR(agreement(one, two, 0), 0.5, 5 * deviation);
  for (const std::size_t shift :
       {std::size_t{1}, std::size_t{2}, std::size_t{8}, std::size_t{16}, kABlock, 2 * kABlock}) {
    EXPECT_NEAR(agreement(one, one, shift), 0.5, 5 * deviation) << shift;
  }
}

TEST(BoundaryCodecError, NotANumberAndInfinityStayVisibleInTheirBlockAlone) {
  for (const float fault : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(2 * kCodecBlock, 1.0F);
    values[5] = fault;
    const std::vector<float> decoded = round_trip(values, Rounding::Nearest, 1);
    EXPECT_TRUE(std::isnan(decoded[5]));
    EXPECT_EQ(decoded[kCodecBlock], 1.0F);
  }
}

TEST(BoundaryCodecError, TinyValuesBecomeZero) {
  const std::vector<float> decoded = round_trip(std::vector<float>(kCodecBlock, 1e-38F), Rounding::Nearest, 1);
  EXPECT_EQ(decoded, std::vector<float>(kCodecBlock, 0.0F));
}

}  // namespace
}  // namespace motley::kernels

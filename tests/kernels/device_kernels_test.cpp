// The table that the engine launches kernels through: rows that begin anywhere, in each wire format.
#include "motley/kernels/device_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/device_array.h"
#include "kernels/linked_kernels.h"
#include "motley/kernels/bfloat16/bfloat16.h"

namespace motley::kernels {
namespace {

constexpr std::size_t kCount = 333;

std::vector<float> waves(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i * i % 97));
  return values;
}

/// `values` from element `offset` on.
template <typename Value>
std::vector<Value> from(std::size_t offset, const std::vector<Value>& values) {
  return {values.begin() + static_cast<std::ptrdiff_t>(offset), values.end()};
}

TEST(DeviceKernels, RowsOfBfloat16MayBeginAnywhere) {
  const DeviceKernels table = linked_kernels();
  for (const std::size_t offset : {0, 1, 4}) {
    const std::vector<float> values = waves(kCount + offset);
    std::vector<std::uint16_t> expected(kCount);
    narrow_on_cpu(values.data() + offset, kCount, expected.data());
    std::vector<float> widened(kCount);
    widen_on_cpu(expected.data(), kCount, widened.data());

    DeviceArray<float> there(values), back(kCount + offset);
    DeviceArray<std::uint16_t> rounded(kCount);
    EXPECT_EQ(table.narrow(there.data() + offset, kCount, rounded.data(), nullptr), 0);
    EXPECT_EQ(table.widen(rounded.data(), kCount, back.data() + offset, nullptr), 0);
    EXPECT_EQ(rounded.host(), expected) << offset;
    EXPECT_EQ(from(offset, back.host()), widened) << offset;
    EXPECT_TRUE(rounded.intact_behind() && back.intact_behind());
  }
}

TEST(DeviceKernels, RowsOfInt8BlocksMayBeginAnywhere) {
  const DeviceKernels table = linked_kernels();
  for (const std::size_t offset : {0, 1, 4}) {
    for (const Rounding rounding : {Rounding::Nearest, Rounding::Stochastic}) {
      const std::vector<float> values = waves(kCount + offset);
      std::vector<unsigned char> expected(encoded_bytes(kCount));
      encode_on_cpu(values.data() + offset, Element::Float32, kCount, rounding, 7, expected.data());
      std::vector<float> decoded(kCount);
      decode_on_cpu(expected.data(), kCount, Element::Float32, decoded.data());

      DeviceArray<float> there(values), back(kCount + offset);
      DeviceArray<unsigned char> codes(expected.size());
      EXPECT_EQ(table.encode(there.data() + offset, Element::Float32, kCount, rounding, 7, codes.data(), nullptr), 0);
      EXPECT_EQ(table.decode(codes.data(), kCount, Element::Float32, back.data() + offset, nullptr), 0);
      EXPECT_EQ(codes.host(), expected) << offset;
      EXPECT_EQ(from(offset, back.host()), decoded) << offset;
      EXPECT_TRUE(codes.intact_behind() && back.intact_behind());
    }
  }
}

TEST(DeviceKernels, RowsOfDropoutMayBeginAnywhere) {
  const DeviceKernels table = linked_kernels();
  for (const std::size_t offset : {0, 1, 4}) {
    for (const std::size_t width : {9, 111, 36}) {
      const std::size_t samples = 5;
      const DropoutMask mask{7, 3, 20000};
      const std::vector<float> values = waves(samples * width + offset);
      std::vector<float> expected(samples * width);
      dropout_on_cpu(values.data() + offset, Element::Float32, samples, width, mask, expected.data());

      DeviceArray<float> there(values), back(values.size());
      EXPECT_EQ(
          table.dropout(there.data() + offset, Element::Float32, samples, width, mask, back.data() + offset, nullptr),
          0);
      EXPECT_EQ(from(offset, back.host()), expected) << offset << ", width " << width;
      EXPECT_TRUE(back.intact_behind());
    }
  }
}

}  // namespace
}  // namespace motley::kernels

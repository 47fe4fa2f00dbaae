#include "motley/kernels/squared_norm/squared_norm.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "kernels/device_array.h"
#include "motley/kernels/arithmetic.h"

namespace motley::kernels {
namespace {

using namespace MOTLEY_KERNEL_SPACE;

/// Layers of gradients of very different size, each padded to 16 values, as a stage's flat buffer has them.
struct Gradients {
  explicit Gradients(const std::vector<std::size_t>& sizes) {
    for (std::size_t layer = 0; layer < sizes.size(); ++layer) {
      std::mt19937 random(static_cast<unsigned>(sizes[layer]));  // the same wherever the layer is
      std::normal_distribution<float> normal;
      for (std::size_t i = 0; i < (sizes[layer] + 15) / 16 * 16; ++i) {
        values.push_back(i < sizes[layer] ? normal(random) * (i % 5 == 0 ? 1e-3F : 10.0F) : 0.0F);
      }
      largest = std::max(largest, values.size() - begins.back());
      begins.push_back(values.size());
    }
  }
  std::size_t layers() const { return begins.size() - 1; }

  std::vector<float> values;
  std::vector<std::size_t> begins{0};
  std::size_t largest = 0;
};

/// As the kernels give them.
std::vector<double> norms_of(NormVersion version, const Gradients& gradients, Element element) {
  std::vector<std::uint16_t> rounded;
  for (const float value : gradients.values) rounded.push_back(arithmetic::to_bfloat16(value));
  DeviceArray<float> floats(gradients.values);
  DeviceArray<std::uint16_t> halves(rounded);
  DeviceArray<std::size_t> begins(gradients.begins);
  DeviceArray<double> scratch(norm_scratch(gradients.layers(), gradients.largest));
  DeviceArray<double> norms(gradients.layers());
  const void* values = element == Element::Float32 ? static_cast<const void*>(floats.data()) : halves.data();
  EXPECT_EQ(squared_norms(version, values, element, begins.data(), gradients.layers(), gradients.largest,
                          scratch.data(), norms.data(), nullptr),
            0);
  EXPECT_TRUE(scratch.intact_behind() && norms.intact_behind());
  return norms.host();
}

class SquaredNorm : public testing::TestWithParam<Element> {};

TEST_P(SquaredNorm, EveryVersionEqualsThePlainLoopUpToTheOrderOfAdditions) {
  const Element element = GetParam();
  const Gradients gradients({100, 4096, 0, 12345, 5, 40000});
  std::vector<std::uint16_t> halves;
  for (const float value : gradients.values) halves.push_back(arithmetic::to_bfloat16(value));
  const std::vector<double> plain = norms_of(NormVersion::Plain, gradients, element);
  const std::vector<double> fast = norms_of(NormVersion::Vectorised, gradients, element);
  for (std::size_t layer = 0; layer < gradients.layers(); ++layer) {
    const std::size_t begin = gradients.begins[layer];
    const std::size_t count = gradients.begins[layer + 1] - begin;
    const void* values =
        element == Element::Float32 ? static_cast<const void*>(&gradients.values[begin]) : &halves[begin];
    const double expected = squared_norm_reference(values, element, count);
    for (const double found : {plain[layer], fast[layer], squared_norm_on_cpu(values, element, count)}) {
      // Positive terms: n additions are off by at most n / 2^53.
      EXPECT_NEAR(found, expected, expected * static_cast<double>(count) * 0x1p-53) << layer;
    }
  }
}

TEST_P(SquaredNorm, ALayersBitsDoNotDependOnItsStage) {
  for (const auto version : {NormVersion::Plain, NormVersion::Vectorised}) {
    const std::vector<double> alone = norms_of(version, Gradients({12345}), GetParam());
    const std::vector<double> last = norms_of(version, Gradients({7, 33000, 12345}), GetParam());
    EXPECT_EQ(alone[0], last[2]);
  }
}

TEST(SquaredNormOnCpu, AddsEightLanesInOrder) {
  std::vector<float> values;
  for (int i = 0; i < 1003; ++i) values.push_back(1.0F / static_cast<float>(i + 1));
  double lanes[8] = {}, sum = 0.0;
  for (int i = 0; i < 1000; ++i) lanes[i % 8] += static_cast<double>(values[i]) * values[i];
  for (int i = 1000; i < 1003; ++i) sum += static_cast<double>(values[i]) * values[i];
  for (const double lane : lanes) sum += lane;
  EXPECT_EQ(squared_norm_on_cpu(values.data(), Element::Float32, values.size()), sum);
}

INSTANTIATE_TEST_SUITE_P(Elements, SquaredNorm, testing::Values(Element::Float32, Element::BFloat16));

}  // namespace
}  // namespace motley::kernels

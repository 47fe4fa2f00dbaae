#include "motley/kernels/adamw/adamw.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/device_array.h"
#include "kernels/optimizer_state.h"
#include "motley/kernels/arithmetic.h"

namespace motley::kernels {
namespace {

using MOTLEY_KERNEL_SPACE::adamw;
using MOTLEY_KERNEL_SPACE::AdamwVersion;

/// All that a step reads and writes. Gradients are kept in both elements.
struct State {
  std::vector<float> parameter, mean, square, gradient;
  std::vector<std::uint16_t> half_parameter, half_gradient;
  bool operator==(const State&) const = default;
};

State some_state(std::size_t count) {
  State state{normal(count, 1), normal(count, 2), normal(count, 3), normal(count, 4), {}, {}};
  for (float& value : state.square) value *= value;
  state.half_parameter = rounded(state.parameter);
  state.half_gradient = rounded(state.gradient);
  return state;
}

AdamwBuffers buffers_of(State& state, Element element, bool rounds) {
  return {state.parameter.data(),
          rounds ? state.half_parameter.data() : nullptr,
          element == Element::Float32 ? static_cast<void*>(state.gradient.data())
                                      : static_cast<void*>(state.half_gradient.data()),
          element,
          state.mean.data(),
          state.square.data()};
}

const AdamwStep kStep = adamw_step_of(0.01, 0.9, 0.99, 1e-8, 0.1, 6, 0.37);

class Adamw : public testing::TestWithParam<std::tuple<Element, bool, std::size_t>> {};

TEST_P(Adamw, EveryVersionEqualsThePlainLoopBitForBit) {
  const auto [element, rounds, count] = GetParam();
  const std::vector<DecayRun> runs = some_runs(count);
  State expected = some_state(count);
  adamw_reference(buffers_of(expected, element, rounds), runs.data(), runs.size(), kStep);

  State on_cpu = some_state(count);
  adamw_on_cpu(buffers_of(on_cpu, element, rounds), runs.data(), runs.size(), kStep);
  EXPECT_EQ(on_cpu, expected);

  for (const auto version : {AdamwVersion::Plain, AdamwVersion::Vectorised, AdamwVersion::TwoAhead}) {
    SCOPED_TRACE(static_cast<int>(version));
    const State before = some_state(count);
    DeviceArray<float> parameter(before.parameter), mean(before.mean), square(before.square), gradient(before.gradient);
    DeviceArray<std::uint16_t> half_parameter(before.half_parameter), half_gradient(before.half_gradient);
    DeviceArray<DecayRun> device_runs(runs);
    const AdamwBuffers buffers{
        parameter.data(),
        rounds ? half_parameter.data() : nullptr,
        element == Element::Float32 ? static_cast<void*>(gradient.data()) : static_cast<void*>(half_gradient.data()),
        element,
        mean.data(),
        square.data()};
    ASSERT_EQ(adamw(version, buffers, count, device_runs.data(), runs.size(), kStep, nullptr), 0);
    const State found{parameter.host(), mean.host(),           square.host(),
                      gradient.host(),  half_parameter.host(), half_gradient.host()};
    EXPECT_EQ(found, expected);
    EXPECT_TRUE(parameter.intact_behind() && mean.intact_behind() && square.intact_behind() &&
                gradient.intact_behind() && half_parameter.intact_behind() && half_gradient.intact_behind());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Adamw,
                         testing::Combine(testing::Values(Element::Float32, Element::BFloat16), testing::Bool(),
                                          testing::Values(0, 1, 3, 16, 1024, 2048, 4112, 5003)));

// torch.optim.AdamW's documented formula, in double, over steps that change the corrections.
TEST(AdamwFormula, FollowsTorch) {
  constexpr std::size_t kCount = 37;
  State state = some_state(kCount);
  std::fill(state.mean.begin(), state.mean.end(), 0.0F);
  std::fill(state.square.begin(), state.square.end(), 0.0F);
  std::vector<double> p(state.parameter.begin(), state.parameter.end()), m(kCount), v(kCount);
  const std::vector<DecayRun> runs{{16, true}, {kCount, false}};
  for (int step = 0; step < 20; ++step) {
    state.gradient = normal(kCount, 100 + static_cast<unsigned>(step));
    for (std::size_t i = 0; i < kCount; ++i) {
      const double g = state.gradient[i] * 0.5;
      p[i] *= i < 16 ? 1 - 0.01 * 0.1 : 1.0;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.99 * v[i] + 0.01 * g * g;
      p[i] -= 0.01 * m[i] / (1 - std::pow(0.9, step + 1)) / (std::sqrt(v[i] / (1 - std::pow(0.99, step + 1))) + 1e-8);
    }
    adamw_on_cpu(buffers_of(state, Element::Float32, true), runs.data(), runs.size(),
                 adamw_step_of(0.01, 0.9, 0.99, 1e-8, 0.1, step, 0.5));
    EXPECT_EQ(state.gradient, std::vector<float>(kCount, 0.0F));
  }
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_NEAR(state.parameter[i], p[i], 1e-6 * std::max(1.0, std::abs(p[i]))) << i;
    EXPECT_EQ(state.half_parameter[i], arithmetic::to_bfloat16(state.parameter[i]));
  }
}

}  // namespace
}  // namespace motley::kernels

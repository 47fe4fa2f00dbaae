#include "motley/kernels/sgd/sgd.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "kernels/device_array.h"
#include "kernels/optimizer_state.h"
#include "motley/kernels/arithmetic.h"

namespace motley::kernels {
namespace {

using MOTLEY_KERNEL_SPACE::sgd;
using MOTLEY_KERNEL_SPACE::SgdVersion;

/// All that a step reads and writes.
struct State {
  std::vector<float> parameter, gradient, momentum;
  std::vector<std::uint16_t> half_parameter;
  bool operator==(const State&) const = default;
};

State some_state(std::size_t count) {
  const std::vector<float> parameter = normal(count, 1);
  return {parameter, normal(count, 2), normal(count, 3), rounded(parameter)};
}

SgdBuffers buffers_of(State& state, bool rounds, bool momentum) {
  return {state.parameter.data(), rounds ? state.half_parameter.data() : nullptr, state.gradient.data(),
          momentum ? state.momentum.data() : nullptr};
}

constexpr SgdStep kStep{0.37F, 0.05F, 0.1F, 0.9F};

class Sgd : public testing::TestWithParam<std::tuple<bool, bool, std::size_t>> {};

TEST_P(Sgd, EveryVersionEqualsThePlainLoopBitForBit) {
  const auto [momentum, rounds, count] = GetParam();
  const std::vector<DecayRun> runs = some_runs(count);
  State expected = some_state(count);
  sgd_reference(buffers_of(expected, rounds, momentum), runs.data(), runs.size(), kStep);

  State on_cpu = some_state(count);
  sgd_on_cpu(buffers_of(on_cpu, rounds, momentum), runs.data(), runs.size(), kStep);
  EXPECT_EQ(on_cpu, expected);

  for (const auto version : {SgdVersion::Plain, SgdVersion::TwoAhead}) {
    SCOPED_TRACE(static_cast<int>(version));
    const State before = some_state(count);
    DeviceArray<float> parameter(before.parameter), gradient(before.gradient), moment(before.momentum);
    DeviceArray<std::uint16_t> half_parameter(before.half_parameter);
    DeviceArray<DecayRun> device_runs(runs);
    const SgdBuffers buffers{parameter.data(), rounds ? half_parameter.data() : nullptr, gradient.data(),
                             momentum ? moment.data() : nullptr};
    ASSERT_EQ(sgd(version, buffers, count, device_runs.data(), runs.size(), kStep, nullptr), 0);
    const State found{parameter.host(), gradient.host(), moment.host(), half_parameter.host()};
    EXPECT_EQ(found, expected);
    EXPECT_TRUE(parameter.intact_behind() && gradient.intact_behind() && moment.intact_behind() &&
                half_parameter.intact_behind());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Sgd,
                         testing::Combine(testing::Bool(), testing::Bool(),
                                          testing::Values(0, 1, 3, 16, 1024, 2048, 4112, 5003)));

// torch.optim.SGD's documented formula, in double.
TEST(SgdFormula, FollowsTorch) {
  constexpr std::size_t kCount = 37;
  for (const double keep : {0.0, 0.9}) {
    State state = some_state(kCount);
    std::fill(state.momentum.begin(), state.momentum.end(), 0.0F);
    std::vector<double> p(state.parameter.begin(), state.parameter.end()), b(kCount);
    const std::vector<DecayRun> runs{{16, true}, {kCount, false}};
    for (int step = 0; step < 20; ++step) {
      state.gradient = normal(kCount, 100 + static_cast<unsigned>(step));
      for (std::size_t i = 0; i < kCount; ++i) {
        b[i] = keep * b[i] + state.gradient[i] * 0.5 + (i < 16 ? 0.01 * p[i] : 0.0);
        p[i] -= 0.1 * b[i];
      }
      sgd_on_cpu(buffers_of(state, true, keep > 0.0), runs.data(), runs.size(),
                 {0.5F, 0.1F, 0.01F, static_cast<float>(keep)});
      EXPECT_EQ(state.gradient, std::vector<float>(kCount, 0.0F));
    }
    for (std::size_t i = 0; i < kCount; ++i) {
      EXPECT_NEAR(state.parameter[i], p[i], 2e-6 * std::max(1.0, std::abs(p[i]))) << i;
      EXPECT_EQ(state.half_parameter[i], arithmetic::to_bfloat16(state.parameter[i]));
    }
  }
}

}  // namespace
}  // namespace motley::kernels

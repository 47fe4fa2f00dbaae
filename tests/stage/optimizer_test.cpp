#include "motley/stage/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "motley/base/error.h"

namespace motley {
namespace {

std::vector<float> normal(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) {
    value = distribution(generator);
  }
  return values;
}

TEST(Optimizer, SgdFollowsItsFormula) {
  for (const double keep : {0.0, 0.9}) {
    OptimizerOptions options;
    options.name = "sgd";
    options.learning_rate = 0.1;
    options.momentum = keep;
    auto parameter = normal(19, 1);
    std::vector<double> p(parameter.begin(), parameter.end()), b(19);
    std::vector<float> momentum(keep > 0 ? 19 : 0);
    for (int step = 0; step < 5; ++step) {
      auto gradient = normal(19, 7 + static_cast<unsigned>(step));
      for (std::size_t i = 0; i < p.size(); ++i) {
        b[i] = keep * b[i] + gradient[i] + 0.01 * p[i];
        p[i] -= 0.1 * b[i];
      }
      sgd_step(parameter, gradient, momentum, options, step, 0.01, 1.0);
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      EXPECT_NEAR(parameter[i], p[i], 2e-6 * std::max(1.0, std::abs(p[i])));
    }
  }
}

TEST(Optimizer, RateWarmsUpLinearlyThenFallsAsACosine) {
  OptimizerOptions options;
  options.learning_rate = 2.0;
  options.warmup_steps = 4;
  options.total_steps = 25;
  options.min_ratio = 0.1;
  EXPECT_DOUBLE_EQ(options.rate_at(0), 0.5);
  EXPECT_DOUBLE_EQ(options.rate_at(3), 2.0);
  EXPECT_DOUBLE_EQ(options.rate_at(4), 2.0);
  EXPECT_NEAR(options.rate_at(14), 1.1, 1e-12);  // half way between 4 and 24
  EXPECT_NEAR(options.rate_at(24), 0.2, 1e-12);
  EXPECT_NEAR(options.rate_at(99), 0.2, 1e-12);
}

TEST(Optimizer, ClipsOnlyWhatIsOverTheNorm) {
  OptimizerOptions options;
  EXPECT_EQ(options.clip_scale(1e10), 1.0);
  options.clip_norm = 2.0;
  EXPECT_EQ(options.clip_scale(4.0), 1.0);
  EXPECT_DOUBLE_EQ(options.clip_scale(16.0), 0.5);
}

TEST(Optimizer, RefusesOptionsByName) {
  OptimizerOptions options;
  options.name = "adam";
  EXPECT_THROW(options.validate(), InputError);
  options.name = "sgd";
  options.min_ratio = 2.0;
  EXPECT_THROW(options.validate(), InputError);
}

}  // namespace
}  // namespace motley

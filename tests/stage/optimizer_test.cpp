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

// torch.optim.AdamW's documented formula, in double, one number at a time.
TEST(Optimizer, AdamWFollowsItsFormula) {
  OptimizerOptions options;
  options.learning_rate = 0.01;
  options.beta2 = 0.99;
  auto parameter = normal(37, 1);
  std::vector<double> p(parameter.begin(), parameter.end()), m(37), v(37);
  std::vector<float> mean(37), square(37);
  for (int step = 0; step < 20; ++step) {
    auto gradient = normal(37, 100 + static_cast<unsigned>(step));
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = gradient[i] * 0.5;
      p[i] *= 1 - 0.01 * 0.1;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.99 * v[i] + 0.01 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, step + 1));
      const double v_hat = v[i] / (1 - std::pow(0.99, step + 1));
      p[i] -= 0.01 * m_hat / (std::sqrt(v_hat) + 1e-8);
    }
    adamw_step(parameter, gradient, mean, square, options, step, 0.1, 0.5);
    for (const float g : gradient) {
      EXPECT_EQ(g, 0.0F);
    }
  }
  for (std::size_t i = 0; i < p.size(); ++i) {
    EXPECT_NEAR(parameter[i], p[i], 1e-6 * std::max(1.0, std::abs(p[i]))) << i;
  }
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

TEST(Optimizer, SquaredNormIsThatOfAPlainLoop) {
  const auto values = normal(1003, 5);
  double sum = 0;
  for (const float value : values) {
    sum += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(squared_norm(values), sum, 1e-9 * sum);
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

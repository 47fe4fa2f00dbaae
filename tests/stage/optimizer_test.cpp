#include "motley/stage/optimizer.h"

#include <gtest/gtest.h>

#include "motley/base/error.h"

namespace motley {
namespace {

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

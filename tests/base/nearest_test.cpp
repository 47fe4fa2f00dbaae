#include "motley/base/nearest.h"

#include <gtest/gtest.h>

namespace motley {
namespace {

TEST(Nearest, FindsATypoAndNothingFarAway) {
  EXPECT_EQ(nearest("unifrom", {"exact", "uniform", "parameters"}), "uniform");
  EXPECT_EQ(nearest("zzzzzz", {"exact", "uniform"}), "");
}

TEST(Nearest, TakesTheFirstOfSeveral) {
  EXPECT_EQ(nearest("at", {"cat", "hat"}), "cat");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace motley

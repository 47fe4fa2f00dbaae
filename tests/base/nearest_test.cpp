#include "motley/base/nearest.h"

#include <gtest/gtest.h>

namespace motley {
namespace {

TEST(Nearest, FindsATypoAndNothingFarAway) {
  EXPECT_EQ(nearest("unifrom", {"exact", "uniform", "parameters"}), "uniform");
  EXPECT_EQ(nearest("zzzzzz", {"exact", "uniform"}), "");
  EXPECT_EQ(nearest("fish", {"bash", "zsh"}), "");
  EXPECT_EQ(nearest("rnu", {"plan", "run"}), "run");
  EXPECT_EQ(nearest("trian", {"schedule", "train"}), "train");
}

TEST(Nearest, TakesTheFirstOfSeveral) {
  EXPECT_EQ(nearest("at", {"cat", "hat"}), "cat");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Nearest, TellsWhatWasExpected) {
  EXPECT_EQ(one_of("1f1c", {"1f1b", "gpipe"}), "one of 1f1b, gpipe; did you mean \"1f1b\"?");
  EXPECT_EQ(one_of("zzzzzz", {"1f1b", "gpipe"}), "one of 1f1b, gpipe");
}

}  // namespace
}  // namespace motley

#include "motley/routing/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace motley {
namespace {

/// Share of pairs of a right and a wrong one that are in order, half for a tie.
double auc_by_pairs(const std::vector<double>& scores, const std::vector<std::uint8_t>& labels) {
  double won = 0.0, pairs = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] == 0 || labels[j] != 0) continue;
      pairs += 1.0;
      won += scores[i] > scores[j] ? 1.0 : scores[i] == scores[j] ? 0.5 : 0.0;
    }
  }
  return won / pairs;
}

TEST(RocAuc, IsTheShareOfPairsInOrder) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    const int size = 2 + static_cast<int>(random() % 60);
    const int values = 1 + static_cast<int>(random() % 20);  // few: many ties
    std::vector<double> scores;
    std::vector<std::uint8_t> labels;
    for (int i = 0; i < size; ++i) {
      scores.push_back(static_cast<double>(random() % values));
      labels.push_back(random() % 2);
    }
    labels[0] = 0;
    labels[1] = 1;
    EXPECT_NEAR(roc_auc(scores, labels), auc_by_pairs(scores, labels), 1e-12);
  }
}

TEST(RocAuc, OfOneClassIsNoNumber) {
  EXPECT_TRUE(std::isnan(roc_auc(std::vector<double>{1.0, 2.0}, std::vector<std::uint8_t>{1, 1})));
  EXPECT_TRUE(std::isnan(roc_auc(std::vector<double>{1.0, 2.0}, std::vector<std::uint8_t>{0, 0})));
}

TEST(Brier, IsTheMeanSquaredError) {
  EXPECT_DOUBLE_EQ(brier(std::vector<double>{1.0, 0.0}, std::vector<std::uint8_t>{1, 0}), 0.0);
  EXPECT_DOUBLE_EQ(brier(std::vector<double>{0.5, 0.25, 1.0}, std::vector<std::uint8_t>{1, 0, 0}),
                   (0.25 + 0.0625 + 1.0) / 3.0);
}

}  // namespace
}  // namespace motley

#include "motley/routing/baselines.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace motley {
namespace {

/// Unit embeddings, outcomes and categories at random; 40 training, 10 validation, 10 test queries.
RoutingData random_data(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  RoutingData data;
  data.models = {"a", "b", "c"};
  data.queries = 60;
  data.embedding_width = 5;
  for (int q = 0; q < 60; ++q) {
    std::vector<float> e(5);
    float square = 0.0F;
    for (float& x : e) x = normal(random), square += x * x;
    for (float x : e) data.embeddings.push_back(x / std::sqrt(square));
    data.split.push_back(q % 6 < 4 ? 0 : static_cast<std::uint8_t>(q % 6 - 3));
    data.category.push_back(static_cast<std::uint8_t>(random() % 3));
    for (int m = 0; m < 3; ++m) data.correct.push_back(random() % 2);
  }
  return data;
}

double cosine(const RoutingData& data, std::size_t a, std::size_t b) {
  float dot = 0.0F;
  for (std::size_t i = 0; i < 5; ++i) dot += data.embeddings[a * 5 + i] * data.embeddings[b * 5 + i];
  return dot;
}

TEST(Neighbours, VoteAsAPlainLoopOverSortedDistancesDoes) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const RoutingData data = random_data(seed);
    const std::vector<std::size_t> rows = data.of_split(2), train = data.of_split(0);
    for (const Neighbours options : {Neighbours{1, 0.0}, {7, 0.0}, {7, 0.1}, {1000, 0.2}}) {
      const Scores scores = neighbour_scores(data, nearest_training(data, rows, kMostNeighbours), options);
      for (std::size_t r = 0; r < rows.size(); ++r) {
        std::vector<std::pair<double, std::size_t>> order;
        for (const std::size_t t : train) order.emplace_back(-cosine(data, rows[r], t), t);
        std::sort(order.begin(), order.end());
        order.resize(std::min<std::size_t>(order.size(), static_cast<std::size_t>(options.k)));
        for (std::size_t m = 0; m < 3; ++m) {
          double right = 0.0, all = 0.0;
          for (const auto& [distance, t] : order) {
            const double weight = options.temperature == 0.0 ? 1.0 : std::exp(-distance / options.temperature);
            all += weight;
            right += data.right(t, m) ? weight : 0.0;
          }
          EXPECT_NEAR(scores[r * 3 + m], right / all, 1e-6);
        }
      }
    }
  }
}

TEST(Means, AreOverTheTrainingSplitAndTheCategory) {
  const RoutingData data = random_data(3);
  const std::vector<std::size_t> rows = data.of_split(2);
  const Scores mean = mean_scores(data, rows), category = category_scores(data, rows);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t m = 0; m < 3; ++m) {
      double right = 0.0, all = 0.0, right_here = 0.0, all_here = 0.0;
      for (const std::size_t t : data.of_split(0)) {
        all += 1.0;
        right += data.right(t, m) ? 1.0 : 0.0;
        if (data.category[t] != data.category[rows[r]]) continue;
        all_here += 1.0;
        right_here += data.right(t, m) ? 1.0 : 0.0;
      }
      EXPECT_DOUBLE_EQ(mean[r * 3 + m], right / all);
      EXPECT_DOUBLE_EQ(category[r * 3 + m], right_here / all_here);
    }
  }
}

TEST(Choices, LookAtTheValidationSplitAlone) {
  RoutingData data = random_data(4);
  const std::vector<std::size_t> validation = data.of_split(1);
  const auto near = nearest_training(data, validation, kMostNeighbours);
  const Neighbours before = choose_neighbours(data, near, true);
  const Scores a = neighbour_scores(data, near, {10, 0.0}), b = mean_scores(data, validation);
  const double blend_before = choose_blend(data, a, b);
  for (const std::size_t q : data.of_split(2)) {
    for (std::size_t m = 0; m < 3; ++m) data.correct[q * 3 + m] ^= 1;
  }
  const Neighbours after = choose_neighbours(data, near, true);
  EXPECT_EQ(before.k, after.k);
  EXPECT_EQ(before.temperature, after.temperature);
  EXPECT_EQ(choose_blend(data, a, b), blend_before);
  EXPECT_EQ(choose_neighbours(data, near, false).temperature, 0.0);
}

TEST(Choices, BlendIsTheBestOfItsGrid) {
  const RoutingData data = random_data(5);
  const std::vector<std::size_t> validation = data.of_split(1);
  const auto near = nearest_training(data, validation, kMostNeighbours);
  const Scores a = neighbour_scores(data, near, {5, 0.0}), b = neighbour_scores(data, near, {20, 0.1});
  const double best = macro_auc(data, validation, blend(a, b, choose_blend(data, a, b)));
  for (int i = 0; i <= 10; ++i) EXPECT_GE(best, macro_auc(data, validation, blend(a, b, i / 10.0)));
}

}  // namespace
}  // namespace motley

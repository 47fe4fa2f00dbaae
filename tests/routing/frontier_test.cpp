#include "motley/routing/frontier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace motley {
namespace {

/// Best accuracy that mixing any two policies (or one) reaches for at most `usd`.
double best_by_mixing(const std::vector<CostQuality>& points, double usd) {
  double best = 0.0;
  for (const CostQuality& a : points) {
    if (a.usd <= usd) best = std::max(best, a.accuracy);
    for (const CostQuality& b : points) {
      if (a.usd < usd && b.usd > usd) {
        const double share = (usd - a.usd) / (b.usd - a.usd);
        best = std::max(best, a.accuracy + share * (b.accuracy - a.accuracy));
      }
    }
  }
  return best;
}

double on_hull(const std::vector<CostQuality>& curve, double usd) {
  if (curve.empty() || usd < curve.front().usd) return 0.0;
  for (std::size_t i = 0; i + 1 < curve.size(); ++i) {
    if (usd <= curve[i + 1].usd) {
      const double share = (usd - curve[i].usd) / (curve[i + 1].usd - curve[i].usd);
      return curve[i].accuracy + share * (curve[i + 1].accuracy - curve[i].accuracy);
    }
  }
  return curve.back().accuracy;
}

std::vector<CostQuality> random_points(std::mt19937& random) {
  std::vector<CostQuality> points;
  const int count = 1 + static_cast<int>(random() % 12);
  for (int i = 0; i < count; ++i) {
    points.push_back({static_cast<double>(random() % 50), static_cast<double>(random() % 100) / 100.0});
  }
  return points;
}

TEST(Hull, IsWhatMixingTwoPoliciesReaches) {
  std::mt19937 random(2);
  for (int round = 0; round < 300; ++round) {
    const std::vector<CostQuality> points = random_points(random);
    const std::vector<CostQuality> curve = hull(points);
    for (int half = 0; half < 120; ++half) {
      const double usd = 0.25 + 0.5 * half;
      EXPECT_NEAR(on_hull(curve, usd), best_by_mixing(points, usd), 1e-12) << "round " << round << ", USD " << usd;
    }
  }
}

TEST(Aiq, IsTheMeanHeightOfTheHull) {
  std::mt19937 random(3);
  for (int round = 0; round < 100; ++round) {
    const std::vector<CostQuality> curve = hull(random_points(random));
    constexpr double kFrom = 3.0, kTo = 41.0;
    constexpr int kSlices = 38000;
    double sum = 0.0;
    for (int i = 0; i < kSlices; ++i) sum += on_hull(curve, kFrom + (i + 0.5) * (kTo - kFrom) / kSlices);
    EXPECT_NEAR(aiq(curve, kFrom, kTo), sum / kSlices, 1e-4) << "round " << round;
  }
}

/// Two queries, two models: a dear one that is right twice and a cheap one that is right once.
RoutingData small() {
  RoutingData data;
  data.models = {"cheap", "dear"};
  data.usd_per_mtok_in = {0.0, 0.0};
  data.usd_per_mtok_out = {1.0, 10.0};
  data.queries = 2;
  data.correct = {1, 1, 0, 1};
  data.answered = {1, 1, 1, 1};
  data.output_chars = {400, 400, 400, 400};
  data.input_chars = {10, 10};
  data.split = {2, 2};
  data.category = {0, 0};
  return data;
}

TEST(Sweep, GoesFromTheBestToTheCheapestAndAsksForEachQueryAlone) {
  const RoutingData data = small();
  const std::vector<std::size_t> rows{0, 1};
  const Scores scores{0.9, 0.95, 0.1, 0.95};
  const double cheap = data.usd(0, 0, 400), dear = data.usd(0, 1, 400);
  EXPECT_DOUBLE_EQ(dear, 10 * cheap);
  const auto points = sweep(data, rows, scores, {cheap, dear, cheap, dear});
  const auto has = [&](double usd, double accuracy) {
    return std::any_of(points.begin(), points.end(), [&](const CostQuality& p) {
      return std::abs(p.usd - usd) < 1e-12 && std::abs(p.accuracy - accuracy) < 1e-12;
    });
  };
  EXPECT_TRUE(has(dear, 1.0)) << "quality alone";
  EXPECT_TRUE(has((cheap + dear) / 2, 1.0)) << "the dear one only where it is needed";
  EXPECT_TRUE(has(cheap, 0.5)) << "price alone";
}

TEST(SingleModels, AreBilledByTheirOwnOutputs) {
  const auto points = single_models(small(), {0, 1});
  ASSERT_EQ(points.size(), 2U);
  EXPECT_DOUBLE_EQ(points[0].accuracy, 0.5);
  EXPECT_DOUBLE_EQ(points[1].accuracy, 1.0);
  EXPECT_DOUBLE_EQ(points[1].usd, 400 * 10.0 / 4e6);
}

}  // namespace
}  // namespace motley

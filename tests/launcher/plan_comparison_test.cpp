#include "motley/launcher/plan_comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(KendallTau, IsTheShareOfPairsThatAgreeLessThoseThatDoNot) {
  const std::vector<double> up{1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(kendall_tau(up, std::vector<double>{10, 20, 30, 40}), 1.0);
  EXPECT_DOUBLE_EQ(kendall_tau(up, std::vector<double>{4, 3, 2, 1}), -1.0);
  // One of six pairs is the other way round.
  EXPECT_DOUBLE_EQ(kendall_tau(up, std::vector<double>{1, 3, 2, 4}), 4.0 / 6.0);
  EXPECT_DOUBLE_EQ(kendall_tau(up, std::vector<double>{5, 5, 5, 5}), 0.0);
}

TEST(KendallTau, OfTiesIsTauB) {
  // scipy.stats.kendalltau([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]) gives -0.47140452079103173.
  EXPECT_NEAR(kendall_tau(std::vector<double>{12, 2, 1, 12, 2}, std::vector<double>{1, 4, 7, 1, 0}),
              -0.47140452079103173, 1e-15);
}

ComparedPlan compared(const char* planner, double predicted, std::vector<Seconds> measured) {
  Plan plan;
  plan.planner = planner;
  plan.micro_batch_size = 4;
  plan.micro_batches = 8;
  plan.stages = {{0, 3, {{1, 0, 4}}, 2, false, "float32"}, {3, 5, {{0, 0, 4}}, 1, false, "float32"}};
  plan.prediction = Prediction{};
  plan.prediction->iteration = plan.prediction->expected = Seconds{predicted};
  return {{planner}, plan, Seconds{0.5}, std::move(measured)};
}

TEST(PlanComparison, SaysHowWellPredictionsAgreeWithRuns) {
  PlanComparison comparison;
  comparison.lower_bound = Seconds{1.0};
  comparison.plans = {compared("exact", 1.0, {{1.1}, {1.0}, {1.3}}), compared("uniform", 2.0, {{1.6}, {1.6}})};
  comparison.failed = {{"single", "too large"}};
  const nlohmann::json json = to_json(comparison);
  EXPECT_DOUBLE_EQ(json.at("kendall_tau").get<double>(), 1.0);
  EXPECT_DOUBLE_EQ(json.at("plans").at(0).at("measured_s").get<double>(), 1.1);
  EXPECT_DOUBLE_EQ(json.at("worst_error").get<double>(), 0.25);
  EXPECT_DOUBLE_EQ(json.at("plans").at(1).at("ratio_to_bound").get<double>(), 2.0);
  EXPECT_EQ(json.at("infeasible").at(0).at("planner").get<std::string>(), "single");
  EXPECT_THAT(in_words(comparison), AllOf(HasSubstr("Kendall's tau 1.00 over 2 plans"), HasSubstr("worst 25.0 %"),
                                          HasSubstr("0-2@1 3-4@0"), HasSubstr("no plan: too large")));
}

TEST(PlanComparison, SaysNothingOfRunsWhereThereAreNone) {
  PlanComparison comparison;
  comparison.plans = {compared("uniform", 2.0, {})};
  EXPECT_THAT(in_words(comparison), testing::Not(HasSubstr("tau")));
  EXPECT_FALSE(to_json(comparison).contains("kendall_tau"));
  EXPECT_FALSE(to_json(comparison).contains("lower_bound_s"));
}

}  // namespace
}  // namespace motley

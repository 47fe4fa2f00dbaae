#include "motley/routing/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "motley/base/error.h"
#include "motley/record/safetensors.h"

namespace motley {
namespace {

const std::filesystem::path kData = std::filesystem::path(MOTLEY_SOURCE_DIR) / "data/mmlu_pro";

/// Predictions of a run: `logit(query, model)` for every query of the split.
template <typename Logit>
void write_predictions(const std::filesystem::path& file, const RoutingData& data, int split, Logit&& logit) {
  std::vector<float> logits, lengths;
  for (const std::size_t query : data.of_split(split)) {
    for (std::size_t model = 0; model < data.model_count(); ++model) {
      logits.push_back(static_cast<float>(logit(query, model)));
      lengths.push_back(0.0F);
    }
  }
  const auto models = static_cast<std::int64_t>(data.model_count());
  const auto rows = static_cast<std::int64_t>(logits.size()) / models;
  const auto stored = [&](const std::vector<float>& values) {
    return StoredTensor{DType::Float32, {rows, models}, std::as_bytes(std::span(values))};
  };
  write_safetensors(file, {{"correctness", stored(logits)}, {"length", stored(lengths)}});
}

class Report : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(run_); }
  const RoutingRow& row(const RouterEvaluation& evaluation, const std::string& name) const {
    for (const RoutingRow& row : evaluation.rows) {
      if (row.name.starts_with(name)) return row;
    }
    throw std::out_of_range(name);
  }
  const RoutingData data_ = read_routing_data(kData);
  const std::filesystem::path run_ = std::filesystem::path(testing::TempDir()) / "motley-report-test";
};

TEST_F(Report, FindsTheKnownBaselinesOfThisSplit) {
  std::mt19937 random(1);
  for (const auto& [split, name] :
       {std::pair(1, "predictions-validation.safetensors"), std::pair(2, "predictions-test.safetensors")}) {
    write_predictions(run_ / name, data_, split, [&](std::size_t, std::size_t) { return random() % 100 / 100.0; });
  }
  const RouterEvaluation evaluation = evaluate_run(kData, run_);
  EXPECT_EQ(evaluation.queries, 1203U);
  // What other people's tools get on the same split: best single .6916, oracle .9435, nearest neighbours .694 AUC.
  EXPECT_NEAR(row(evaluation, "best single LLM").accuracy, 0.6916, 5e-5);
  EXPECT_NEAR(row(evaluation, "oracle").accuracy, 0.9435, 5e-5);
  EXPECT_NEAR(row(evaluation, "kNN weighted").macro_auc, 0.694, 2e-3);
  // Noise learns nothing, and the blend leaves it out.
  EXPECT_NEAR(row(evaluation, "router").macro_auc, 0.5, 0.02);
  EXPECT_GE(evaluation.blend, 0.8);
  EXPECT_NEAR(row(evaluation, "router + neighbours").macro_auc, 0.694, 0.02);
}

TEST_F(Report, ARouterThatKnowsIsTheOracleInAccuracy) {
  for (const auto& [split, name] :
       {std::pair(1, "predictions-validation.safetensors"), std::pair(2, "predictions-test.safetensors")}) {
    write_predictions(run_ / name, data_, split,
                      [&](std::size_t q, std::size_t m) { return data_.right(q, m) ? 8.0 : -8.0; });
  }
  const RouterEvaluation evaluation = evaluate_run(kData, run_);
  EXPECT_DOUBLE_EQ(row(evaluation, "router").accuracy, row(evaluation, "oracle").accuracy);
  EXPECT_DOUBLE_EQ(row(evaluation, "router").macro_auc, 1.0);
  EXPECT_DOUBLE_EQ(evaluation.validation_auc, 1.0);
  EXPECT_LT(row(evaluation, "router").brier, 1e-6);
  // Frontier and reliability of a router that knows: the oracle's accuracy, and every pair at one of the ends.
  const RoutingRow& router = row(evaluation, "router");
  EXPECT_DOUBLE_EQ(router.frontier.back().accuracy, router.accuracy);
  ASSERT_EQ(router.calibration.size(), 2U);
  EXPECT_EQ(router.calibration[0].pairs + router.calibration[1].pairs, 1203U * 28U);
  EXPECT_DOUBLE_EQ(router.calibration[0].right, 0.0);
  EXPECT_DOUBLE_EQ(router.calibration[1].right, 1.0);
  EXPECT_NEAR(router.calibration[1].predicted, 1.0 / (1.0 + std::exp(-8.0)), 1e-6);
  // A score that is a frequency is calibrated by its making on the split it was counted on; nearly so on another.
  for (const CalibrationBin& bin : row(evaluation, "best per category").calibration) {
    EXPECT_NEAR(bin.predicted, bin.right, 0.1);
  }
  EXPECT_EQ(evaluation.singles.size(), 28U);
  EXPECT_THAT(in_words(evaluation), testing::AllOf(testing::HasSubstr("routing 1203 held-out queries among 28 LLMs"),
                                                   testing::HasSubstr("is right for 94.3")));
}

TEST_F(Report, PredictionsOfAnotherShapeAreNamed) {
  const std::vector<float> few(10);
  std::filesystem::create_directories(run_);
  write_safetensors(run_ / "predictions-test.safetensors",
                    {{"correctness", {DType::Float32, {10}, std::as_bytes(std::span(few))}}});
  try {
    (void)evaluate_run(kData, run_);
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("predictions-test.safetensors: tensor \"correctness\""),
                                             testing::HasSubstr("40 bytes, expected 33684 float32")));
  }
}

}  // namespace
}  // namespace motley

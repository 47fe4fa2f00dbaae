// bfloat16 weights and activations, with float32 weights for the optimiser and float32 sums of gradients.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <numeric>

#include "motley/stage/stage.h"

namespace motley {
namespace {

constexpr int kMicroBatches = 3;
constexpr std::int64_t kSize = 4;

Workload make(const std::string& name, DType type) {
  const std::string keys = name == "router"
                               ? "data = \"synthetic\"\nsamples = 60\nembedding = 20\nmodels = 5\nwidth = 24\n"
                                 "hidden = 40\nblocks = 2\ndropout = 0.2\ninput_dropout = 0.3"
                               : "width = 16\nheads = 2\nblocks = 2\nsequence = 6\nvocabulary = 20";
  return builtin_workloads().make({.name = name, .options = workload_options(keys), .folder = {}, .activations = type});
}

OptimizerOptions options_of(DType type, const std::string& name = "adamw") {
  OptimizerOptions options;
  options.name = name;
  options.learning_rate = name == "adamw" ? 0.01 : 0.05;
  options.weight_decay = 0.1;
  options.momentum = 0.9;
  options.parameters = type;
  return options;
}

std::vector<Stage> stages_of(const Workload& workload, const std::vector<int>& cuts, const OptimizerOptions& options) {
  const std::vector<Boundary> boundaries = boundaries_of(workload);
  std::vector<Stage> stages;
  for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
    stages.emplace_back(workload, cuts[s], cuts[s + 1], boundaries[static_cast<std::size_t>(cuts[s])], 7, options);
  }
  return stages;
}

/// Losses of steps through all stages; `apart`: weight gradients after input gradients.
std::vector<double> train(const Workload& workload, std::vector<Stage>& stages, int steps, bool apart = false) {
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    for (int m = 0; m < kMicroBatches; ++m) {
      std::vector<std::int64_t> samples(kSize);
      std::iota(samples.begin(), samples.end(), m * kSize);
      TensorList tensors;
      for (Stage& stage : stages) {
        tensors = stage.forward(m, step, std::move(tensors), workload.data->fetch(stage.reads(), Split::Train, samples),
                                true);
      }
      for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
        const double scale = 1.0 / (kMicroBatches * kSize);
        tensors =
            apart ? stage->backward_input(m, std::move(tensors), scale) : stage->backward(m, std::move(tensors), scale);
        if (apart) stage->backward_weight(m);
      }
    }
    double sum = 0.0;
    for (const double loss : stages.back().take_loss()) sum += loss;
    losses.push_back(sum / (kMicroBatches * kSize));
    for (Stage& stage : stages) stage.update(step, 1.0);
  }
  return losses;
}

class MixedPrecision : public testing::TestWithParam<std::string> {
 protected:
  MixedPrecision() { at::set_num_threads(1); }
};
INSTANTIATE_TEST_SUITE_P(Workloads, MixedPrecision, testing::Values("router", "transformer"),
                         [](const auto& name) { return name.param; });

TEST_P(MixedPrecision, BoundariesAndParametersAreBfloat16AndSumsAreFloat32) {
  const Workload workload = make(GetParam(), DType::BFloat16);
  EXPECT_EQ(boundaries_of(workload)[1][0].dtype, DType::BFloat16);
  std::vector<Stage> stages =
      stages_of(workload, {0, 2, static_cast<int>(workload.layers.size())}, options_of(DType::BFloat16));
  (void)train(workload, stages, 2);
  for (const Stage& stage : stages) {
    for (const LayerState& layer : stage.layers()) {
      EXPECT_EQ(layer.flat_parameters().scalar_type(), at::kFloat);
      EXPECT_EQ(layer.flat_gradients().scalar_type(), at::kFloat);
      const std::vector<at::Tensor> masters = layer.views_of(layer.flat_parameters());
      for (std::size_t p = 0; p < masters.size(); ++p) {
        EXPECT_EQ(layer.parameters()[p].scalar_type(), at::kBFloat16);
        // What the layer computes with is the optimiser's weight, rounded, after every step.
        EXPECT_TRUE(at::equal(layer.parameters()[p].detach(), masters[p].to(at::kBFloat16)));
      }
    }
    // Two float32 moments and a bfloat16 copy beside every float32 weight.
    EXPECT_EQ(stage.optimizer_bytes().value, stage.parameter_bytes().value * 5 / 2);
  }
}

TEST_P(MixedPrecision, TheLossDoesNotDependOnTheCutNorOnTheOrderOfGradients) {
  const Workload workload = make(GetParam(), DType::BFloat16);
  const int layers = static_cast<int>(workload.layers.size());
  std::vector<Stage> one = stages_of(workload, {0, layers}, options_of(DType::BFloat16));
  const std::vector<double> expected = train(workload, one, 3);
  for (int cut = 1; cut < layers; ++cut) {
    std::vector<Stage> two = stages_of(workload, {0, cut, layers}, options_of(DType::BFloat16));
    EXPECT_EQ(train(workload, two, 3, cut % 2 == 0), expected) << "cut at " << cut;
  }
}

TEST_P(MixedPrecision, LearnsAsFloat32Does) {
  for (const std::string& optimizer : {std::string("adamw"), std::string("sgd")}) {
    const Workload full = make(GetParam(), DType::Float32);
    const Workload mixed = make(GetParam(), DType::BFloat16);
    const int layers = static_cast<int>(full.layers.size());
    std::vector<Stage> in_full = stages_of(full, {0, layers}, options_of(DType::Float32, optimizer));
    std::vector<Stage> in_mixed = stages_of(mixed, {0, layers}, options_of(DType::BFloat16, optimizer));
    const std::vector<double> expected = train(full, in_full, 20);
    const std::vector<double> found = train(mixed, in_mixed, 20);
    EXPECT_LT(found.back(), found.front());
    for (std::size_t step = 0; step < found.size(); ++step) {
      EXPECT_NEAR(found[step], expected[step], 0.05 * expected[0]) << optimizer << ", step " << step;
    }
    EXPECT_NE(found, expected);
  }
}

TEST_P(MixedPrecision, SmallStepsAreNotLostInRounding) {
  // A step of 1e-4 of a weight is less than bfloat16 tells apart; the float32 weights add such steps up.
  const Workload workload = make(GetParam(), DType::BFloat16);
  OptimizerOptions options = options_of(DType::BFloat16);
  options.learning_rate = 1e-5;
  options.weight_decay = 0.0;
  std::vector<Stage> stages = stages_of(workload, {0, static_cast<int>(workload.layers.size())}, options);
  const at::Tensor before = stages[0].layers()[1].flat_parameters().clone();
  (void)train(workload, stages, 1);
  const at::Tensor moved = stages[0].layers()[1].flat_parameters().sub(before).abs();
  EXPECT_GT(moved.max().item<double>(), 0.0);
  EXPECT_LT(moved.max().item<double>(), 2e-5);
}

}  // namespace
}  // namespace motley

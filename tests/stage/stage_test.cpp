#include "motley/stage/stage.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "motley/base/error.h"
#include "motley/device/host_memory.h"

namespace motley {
namespace {

constexpr int kMicroBatches = 3;
constexpr int kMicroBatchSize = 4;

Workload make(const std::string& name, const std::string& keys) {
  at::set_num_threads(1);
  return builtin_workloads().make({.name = name, .options = workload_options(keys), .folder = {}});
}

Workload router() {
  return make("router", "data = \"synthetic\"\nsamples = 64\nwidth = 24\nhidden = 40\nblocks = 3\ninput_dropout = 0.3");
}

Workload transformer() {
  return make("transformer", "width = 16\nheads = 2\nblocks = 2\nsequence = 6\nvocabulary = 20");
}

// A layer written as a user would, without our functions: autograd carries its weight gradients.
class PlainLayer final : public Layer {
 public:
  std::string name() const override { return "plain"; }
  std::vector<ParameterSpec> parameters() const override {
    return {{"w", {24, 24}, ParameterSpec::Init::Normal, 0.2, true}};
  }
  Boundary output(const Boundary& input) const override { return input; }
  TensorList forward(const TensorList& input, LayerContext& context) const override {
    // The weight serves twice, and the result is not contiguous.
    const at::Tensor& w = context.parameters[0];
    return {at::matmul(w, at::matmul(input[0], w).tanh().t()).t()};
  }
};

Workload with_plain_layer() {
  Workload workload = router();
  workload.layers.insert(workload.layers.begin() + 2, std::make_shared<PlainLayer>());
  return workload;
}

OptimizerOptions adamw() {
  OptimizerOptions options;
  options.learning_rate = 0.01;
  options.weight_decay = 0.1;
  options.clip_norm = 0.5;
  return options;
}

enum class Backward { Fused, Apart, WeightsLast };

struct Outcome {
  std::vector<double> losses;
  std::vector<at::Tensor> gradients;   // flat, each layer at each step, before the update
  std::vector<at::Tensor> parameters;  // flat, each layer, at the end
};

// Trains for some steps, the stages one after another in this thread.
Outcome train(const Workload& workload, const std::vector<int>& cuts, Backward how, int steps = 3) {
  const std::vector<Boundary> boundaries = boundaries_of(workload);
  std::vector<Stage> stages;
  int first = 0;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const int end = i < cuts.size() ? cuts[i] : static_cast<int>(workload.layers.size());
    stages.emplace_back(workload, first, end, boundaries[static_cast<std::size_t>(first)], 7, adamw());
    first = end;
  }
  const int batch = kMicroBatches * kMicroBatchSize;
  Outcome outcome;
  for (int step = 0; step < steps; ++step) {
    const auto samples = samples_of_step(7, step, batch, workload.data->size(Split::Train));
    for (int m = 0; m < kMicroBatches; ++m) {
      const std::span mine = std::span(samples).subspan(static_cast<std::size_t>(m) * kMicroBatchSize, kMicroBatchSize);
      TensorList tensors;
      for (Stage& stage : stages) {
        const Fields fields = workload.data->fetch(stage.reads(), Split::Train, mine);
        tensors = stage.forward(m, step, tensors, fields, true);
      }
    }
    for (int m = 0; m < kMicroBatches; ++m) {
      TensorList gradients;
      for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
        if (how == Backward::Fused) {
          gradients = stage->backward(m, gradients, 1.0 / batch);
        } else {
          gradients = stage->backward_input(m, gradients, 1.0 / batch);
        }
        if (how == Backward::Apart) {
          stage->backward_weight(m);
        }
      }
    }
    double norm = 0;
    for (Stage& stage : stages) {
      for (int m = 0; how == Backward::WeightsLast && m < kMicroBatches; ++m) {
        stage.backward_weight(m);
      }
      EXPECT_EQ(stage.in_flight(), 0);
      for (const double square : stage.squared_norms()) {
        norm += square;
      }
      for (const LayerState& layer : stage.layers()) {
        outcome.gradients.push_back(layer.flat_gradients().clone());
      }
    }
    for (Stage& stage : stages) {
      stage.update(step, adamw().clip_scale(norm));
    }
    for (const double loss : stages.back().take_loss()) {
      outcome.losses.push_back(loss);
    }
  }
  for (Stage& stage : stages) {
    for (const LayerState& layer : stage.layers()) {
      outcome.parameters.push_back(layer.flat_parameters().clone());
    }
  }
  return outcome;
}

void expect_same_bits(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.losses, b.losses);
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    EXPECT_TRUE(at::equal(a.gradients[i], b.gradients[i])) << "gradient " << i;
  }
  ASSERT_EQ(a.parameters.size(), b.parameters.size());
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    EXPECT_TRUE(at::equal(a.parameters[i], b.parameters[i])) << "layer " << i;
  }
}

TEST(Stage, AnyCutGivesTheBitsOfOneStage) {
  for (const Workload& workload : {router(), transformer(), with_plain_layer()}) {
    const Outcome whole = train(workload, {}, Backward::Fused);
    EXPECT_EQ(whole.losses.size(), 9U);
    const int layers = static_cast<int>(workload.layers.size());
    std::vector<int> all;
    for (int cut = 1; cut < layers; ++cut) {
      SCOPED_TRACE(workload.name + " cut at " + std::to_string(cut));
      expect_same_bits(whole, train(workload, {cut}, Backward::Fused));
      all.push_back(cut);
    }
    expect_same_bits(whole, train(workload, all, Backward::Apart));
  }
}

TEST(Stage, InputAndWeightGradientsApartGiveTheBitsOfBoth) {
  for (const Workload& workload : {router(), transformer(), with_plain_layer()}) {
    const Outcome fused = train(workload, {2}, Backward::Fused);
    expect_same_bits(fused, train(workload, {2}, Backward::Apart));
    expect_same_bits(fused, train(workload, {2}, Backward::WeightsLast));
  }
}

TEST(Stage, GradientsAreThoseOfPlainAutograd) {
  for (const Workload& workload : {router(), transformer(), with_plain_layer()}) {
    Stage stage(workload, 0, static_cast<int>(workload.layers.size()), {}, 7, adamw());
    const auto samples = samples_of_step(7, 0, 8, workload.data->size(Split::Train));
    const Fields fields = workload.data->fetch(stage.reads(), Split::Train, samples);
    (void)stage.forward(0, 0, {}, fields, true);
    (void)stage.backward(0, {}, 0.125);
    TensorList tensors;
    for (const LayerState& layer : stage.layers()) {
      LayerContext context{
          .parameters = layer.parameters(), .fields = &fields, .random = {7, 0, layer.index(), 0, 0}, .training = true};
      tensors = layer.layer().forward(tensors, context);
    }
    (tensors[0] * 0.125).backward();
    // The router's loss is one kernel of ours in a stage and LibTorch's operators here.
    EXPECT_NEAR(stage.take_loss().at(0), tensors[0].item<double>(), 1e-6 * tensors[0].item<double>());
    for (const LayerState& layer : stage.layers()) {
      for (std::size_t p = 0; p < layer.specs().size(); ++p) {
        EXPECT_TRUE(at::allclose(layer.gradients()[p], layer.parameters()[p].grad(), 1e-4, 1e-6))
            << workload.name << " " << layer.layer().name() << " " << layer.specs()[p].name;
        layer.parameters()[p].mutable_grad() = at::Tensor();
      }
    }
  }
}

TEST(Stage, UpdateIsLibTorchsAdamWOfEachParameter) {
  const Workload workload = router();
  const at::NoGradGuard no_gradients;
  const OptimizerOptions options = adamw();
  Stage stage(workload, 0, 5, {}, 7, options);
  std::vector<std::vector<at::Tensor>> expected;  // of each parameter: itself, exp_avg, exp_avg_sq
  at::manual_seed(1);
  for (int step = 0; step < 3; ++step) {
    std::size_t place = 0;
    for (const LayerState& layer : stage.layers()) {
      for (std::size_t i = 0; i < layer.specs().size(); ++i, ++place) {
        if (step == 0) {
          const at::Tensor copy = layer.parameters()[i].detach().clone();
          expected.push_back({copy, at::zeros_like(copy), at::zeros_like(copy)});
        }
        const at::Tensor gradient = at::randn(layer.specs()[i].shape);
        at::Tensor(layer.gradients()[i]).copy_(gradient);
        const std::vector<at::Tensor>& e = expected[place];
        at::_fused_adamw_({e[0]}, {gradient * 0.25}, {e[1]}, {e[2]}, {}, {at::full({}, step + 1.0)},
                          options.rate_at(step), options.beta1, options.beta2,
                          layer.specs()[i].weight_decay ? options.weight_decay : 0.0, options.epsilon, false, false);
      }
    }
    stage.update(step, 0.25);
  }
  std::size_t place = 0;
  for (const LayerState& layer : stage.layers()) {
    EXPECT_EQ(layer.flat_gradients().count_nonzero().item<std::int64_t>(), 0);
    for (std::size_t i = 0; i < layer.specs().size(); ++i, ++place) {
      SCOPED_TRACE(layer.layer().name() + " " + layer.specs()[i].name);
      EXPECT_TRUE(at::allclose(layer.parameters()[i], expected[place][0], 1e-5, 1e-7));
      EXPECT_TRUE(at::allclose(layer.views_of(layer.moments()[0].flat)[i], expected[place][1], 1e-5, 1e-7));
      EXPECT_TRUE(at::allclose(layer.views_of(layer.moments()[1].flat)[i], expected[place][2], 1e-5, 1e-7));
    }
  }
}

TEST(Stage, TrainingLowersTheLoss) {
  // Twelve texts to learn by heart: the stream's rule itself takes far more tokens than a test may read.
  const Workload small_text =
      make("transformer", "width = 16\nheads = 2\nblocks = 2\nsequence = 6\nvocabulary = 20\nsamples = 12");
  for (const Workload& workload : {router(), small_text}) {
    const Outcome outcome = train(workload, {2}, Backward::Fused, 30);
    const auto mean = [&](std::size_t from) {
      return std::accumulate(outcome.losses.begin() + static_cast<long>(from),
                             outcome.losses.begin() + static_cast<long>(from) + 15, 0.0);
    };
    EXPECT_LT(mean(75), 0.95 * mean(0)) << workload.name;
  }
}

TEST(Stage, BuildsOnlyItsOwnLayers) {
  const Workload workload = router();
  const auto boundaries = boundaries_of(workload);
  HostMemory memory = HostMemory::install();
  const Stage stage(workload, 2, 3, boundaries[2], 7, adamw());
  // norm 2 * 24, up 40 * 24 + 40, down 24 * 40 + 24, each padded to 16 floats
  const std::int64_t floats = 2 * 32 + 960 + 48 + 960 + 32;
  EXPECT_EQ(stage.parameter_bytes(), Bytes{4 * floats});
  EXPECT_EQ(stage.optimizer_bytes(), Bytes{8 * floats});
  EXPECT_EQ(memory.counts().live, Bytes{16 * floats});
}

TEST(Stage, KeepsNoSentOutputAlive) {
  const Workload workload = router();
  HostMemory memory = HostMemory::install();
  Stage stage(workload, 0, 1, {}, 7, adamw());
  const std::vector<std::int64_t> samples(512, 0);
  const Fields fields = workload.data->fetch(stage.reads(), Split::Train, samples);
  TensorList output = stage.forward(0, 0, {}, fields, true);
  const Bytes with_output = memory.counts().live;
  output.clear();
  EXPECT_EQ(with_output - memory.counts().live, Bytes{std::int64_t{512} * 24 * 4});
}

TEST(Stage, RefusesWeightGradientsOutOfOrder) {
  const Workload workload = router();
  Stage stage(workload, 0, 5, {}, 7, adamw());
  const std::vector<std::int64_t> samples{0, 1};
  const Fields fields = workload.data->fetch(stage.reads(), Split::Train, samples);
  for (const int m : {0, 1}) {
    (void)stage.forward(m, 0, {}, fields, true);
    (void)stage.backward_input(m, {}, 1.0);
  }
  stage.backward_weight(1);
  EXPECT_THROW(stage.backward_weight(0), InternalError);
  stage.abandon_step();
  EXPECT_EQ(stage.in_flight(), 0);
  for (const double square : stage.squared_norms()) {
    EXPECT_EQ(square, 0.0);
  }
}

TEST(Stage, EvaluationGivesNamedOutputsAndKeepsNothing) {
  const Workload workload = router();
  Stage stage(workload, 0, 5, {}, 7, adamw());
  const std::vector<std::int64_t> samples{0, 1, 2};
  const Fields fields = workload.data->fetch(stage.reads(), Split::Test, samples);
  Fields outputs;
  (void)stage.forward(0, 0, {}, fields, false, &outputs);
  EXPECT_EQ(outputs.at("correctness").sizes(), (std::vector<std::int64_t>{3, 28}));
  EXPECT_EQ(outputs.at("length").sizes(), (std::vector<std::int64_t>{3, 28}));
  EXPECT_EQ(stage.in_flight(), 0);
  EXPECT_EQ(stage.take_loss().size(), 1U);
}

TEST(Stage, NamesTheLayerThatReturnsTheWrongTensors) {
  class Liar final : public Layer {
   public:
    std::string name() const override { return "liar"; }
    std::vector<ParameterSpec> parameters() const override { return {}; }
    Boundary output(const Boundary& input) const override { return input; }
    TensorList forward(const TensorList& input, LayerContext&) const override { return {input[0].slice(1, 0, 3)}; }
  };
  Workload workload = router();
  workload.layers.insert(workload.layers.begin() + 1, std::make_shared<Liar>());
  Stage stage(workload, 0, 2, {}, 7, adamw());
  const std::vector<std::int64_t> samples{0, 1};
  try {
    (void)stage.forward(0, 0, {}, workload.data->fetch(stage.reads(), Split::Train, samples), true);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("layer liar"), testing::HasSubstr("Float[2, 3]"),
                                             testing::HasSubstr("hidden float32[24]")));
  }
}

}  // namespace
}  // namespace motley

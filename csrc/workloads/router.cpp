#include "motley/workloads/router.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "motley/config/table_reader.h"
#include "motley/workloads/functions.h"
#include "motley/workloads/router_data.h"
#include "motley/workloads/tensor_types.h"

namespace motley {
namespace {

using Init = ParameterSpec::Init;

constexpr double kNormEpsilon = 1e-5;

struct Shape {
  std::int64_t embedding;
  std::int64_t models;
  std::int64_t width;
  std::int64_t hidden;
  std::int64_t blocks;
  double dropout;
  double input_dropout;
  double length_weight;
  DType type;                // of activations
  std::vector<float> prior;  // log-odds of a right answer of each model on the training split
};

Boundary hidden_boundary(const Shape& shape) {
  return {{"hidden", {shape.width}, shape.type, true}};
}

ParameterSpec weight(const std::string& name, std::int64_t out, std::int64_t in, double gain = 1.0) {
  return {name, {out, in}, Init::Normal, gain / std::sqrt(static_cast<double>(in)), true};
}

class RouterInput final : public Layer {
 public:
  explicit RouterInput(const Shape& shape) : shape_(shape) {}

  std::string name() const override { return "input"; }

  std::vector<ParameterSpec> parameters() const override {
    return {weight("weight", shape_.width, shape_.embedding), {"bias", {shape_.width}, Init::Zeros, 0.0, false}};
  }

  Boundary output(const Boundary& input) const override {
    expect_input(*this, input, {});
    return hidden_boundary(shape_);
  }

  std::vector<std::string> reads() const override { return {"embedding"}; }

  TensorList forward(const TensorList& /*input*/, LayerContext& context) const override {
    // Unit length becomes unit deviation.
    const at::Tensor unit = field_of(context, *this, "embedding").to(at::kFloat);
    const at::Tensor embedding = (unit * std::sqrt(static_cast<double>(shape_.embedding))).to(scalar_type(shape_.type));
    return {linear(dropout(embedding, shape_.input_dropout, context), context.parameters[0], context.parameters[1],
                   context)};
  }

 private:
  Shape shape_;
};

class RouterBlock final : public Layer {
 public:
  RouterBlock(const Shape& shape, std::int64_t index) : shape_(shape), index_(index) {}

  std::string name() const override { return "block" + std::to_string(index_); }

  std::vector<ParameterSpec> parameters() const override {
    // The second weight shrinks with depth so that the sum of all branches stays of the stem's size (GPT-2's rule).
    const double branch = 1.0 / std::sqrt(2.0 * static_cast<double>(shape_.blocks));
    return {{"norm.gain", {shape_.width}, Init::Ones, 0.0, false},
            {"norm.bias", {shape_.width}, Init::Zeros, 0.0, false},
            weight("up.weight", shape_.hidden, shape_.width),
            {"up.bias", {shape_.hidden}, Init::Zeros, 0.0, false},
            weight("down.weight", shape_.width, shape_.hidden, branch),
            {"down.bias", {shape_.width}, Init::Zeros, 0.0, false}};
  }

  Boundary output(const Boundary& input) const override {
    expect_input(*this, input, hidden_boundary(shape_));
    return hidden_boundary(shape_);
  }

  TensorList forward(const TensorList& input, LayerContext& context) const override {
    const auto& p = context.parameters;
    at::Tensor x = layer_norm(input[0], p[0], p[1], kNormEpsilon, context);
    x = dropout(at::gelu(linear(x, p[2], p[3], context)), shape_.dropout, context, 0);
    x = dropout(linear(x, p[4], p[5], context), shape_.dropout, context, 1);
    return {input[0] + x};
  }

 private:
  Shape shape_;
  std::int64_t index_;
};

class RouterHead final : public Layer {
 public:
  explicit RouterHead(const Shape& shape) : shape_(shape) {}

  std::string name() const override { return "head"; }

  std::vector<ParameterSpec> parameters() const override {
    return {{"norm.gain", {shape_.width}, Init::Ones, 0.0, false},
            {"norm.bias", {shape_.width}, Init::Zeros, 0.0, false},
            weight("correctness.weight", shape_.models, shape_.width, 0.1),
            {"correctness.bias", {shape_.models}, Init::Given, 0.0, false, shape_.prior},
            weight("length.weight", shape_.models, shape_.width, 0.1),
            {"length.bias", {shape_.models}, Init::Zeros, 0.0, false}};
  }

  Boundary output(const Boundary& input) const override {
    expect_input(*this, input, hidden_boundary(shape_));
    return {};
  }

  std::vector<std::string> reads() const override { return {"correct", "length"}; }

  TensorList forward(const TensorList& input, LayerContext& context) const override {
    const auto& p = context.parameters;
    const at::Tensor x = layer_norm(input[0], p[0], p[1], kNormEpsilon, context);
    const ScoredLoss right = scores_and_cross_entropy(x, p[2], p[3], field_of(context, *this, "correct"), context);
    const at::Tensor lengths = linear(x, p[4], p[5], context).to(at::kFloat);
    if (context.outputs != nullptr) {
      (*context.outputs)["correctness"] = right.scores;
      (*context.outputs)["length"] = lengths.detach();
    }
    const at::Tensor missed =
        at::smooth_l1_loss(lengths, field_of(context, *this, "length"), at::Reduction::Sum, /*beta=*/1.0);
    return {(right.sum + missed * shape_.length_weight) / static_cast<double>(shape_.models)};
  }

 private:
  Shape shape_;
};

/// A head that starts from what each model gets right on average has only the differences between queries to learn.
std::vector<float> log_odds(const RouterData& data) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(data.size(Split::Train)));
  std::iota(all.begin(), all.end(), 0);
  const std::vector<std::string> names{"correct"};
  const at::Tensor right = data.fetch(names, Split::Train, all).at("correct").sum(0, false, at::kDouble);
  std::vector<float> prior;
  for (std::int64_t model = 0; model < data.models(); ++model) {
    // Half a right and half a wrong answer more, so that none is certain.
    const double odds =
        (right[model].item<double>() + 0.5) / (static_cast<double>(all.size()) - right[model].item<double>() + 0.5);
    prior.push_back(static_cast<float>(std::log(odds)));
  }
  return prior;
}

}  // namespace

Workload make_router(const WorkloadConfig& config) {
  TableReader options = config.reader();
  const std::string data = options.text("data", "data/mmlu_pro", "folder of figures, or \"synthetic\"");
  SyntheticRouterOptions synthetic;
  if (data == "synthetic") {
    synthetic.embedding = options.integer("embedding", synthetic.embedding, 1, 1 << 16, "width of an embedding");
    synthetic.models = options.integer("models", synthetic.models, 1, 1 << 12, "LLMs to route among");
    synthetic.samples = options.integer("samples", synthetic.samples, 1, 1 << 24, "of the training split");
    synthetic.seed = static_cast<std::uint64_t>(options.integer("data_seed", 1, 0, 1LL << 62, "of the data"));
  }
  Shape shape{};
  shape.type = config.activations;
  shape.width = options.integer("width", 512, 1, 1 << 16, "of the residual tower");
  shape.hidden = options.integer("hidden", 4 * shape.width, 1, 1 << 18, "units inside a block");
  shape.blocks = options.integer("blocks", 8, 0, 10000, "residual blocks, a layer each");
  shape.dropout = options.number("dropout", 0.1, 0.0, 0.99, "inside blocks");
  shape.input_dropout = options.number("input_dropout", 0.0, 0.0, 0.99, "of embeddings");
  shape.length_weight = options.number("length_weight", 1.0, 0.0, 1e6, "of the output-length loss");
  options.finish();
  const std::shared_ptr<const RouterData> source =
      data == "synthetic" ? synthetic_router_data(synthetic) : read_router_data(config.folder / data);
  shape.embedding = source->embedding_width();
  shape.models = source->models();
  shape.prior = log_odds(*source);

  Workload workload{config.name, {std::make_shared<RouterInput>(shape)}, source};
  for (std::int64_t i = 0; i < shape.blocks; ++i) {
    workload.layers.push_back(std::make_shared<RouterBlock>(shape, i));
  }
  workload.layers.push_back(std::make_shared<RouterHead>(shape));
  return workload;
}

}  // namespace motley

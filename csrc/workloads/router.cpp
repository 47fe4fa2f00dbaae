#include "motley/workloads/router.h"

#include <ATen/ATen.h>

#include <cmath>

#include "motley/config/table_reader.h"
#include "motley/workloads/functions.h"
#include "motley/workloads/router_data.h"

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
  double length_weight;
  double input_noise;
};

Boundary hidden_boundary(const Shape& shape) {
  return {{"hidden", {shape.width}, DType::Float32, true}};
}

ParameterSpec weight(const std::string& name, std::int64_t out, std::int64_t in, double gain = 1.0) {
  return {name, {out, in}, Init::Normal, gain / std::sqrt(static_cast<double>(in)), true};
}

class RouterInput final : public Layer {
 public:
  explicit RouterInput(const Shape& shape) : shape_(shape) {}

  std::string name() const override { return "input"; }

  std::vector<ParameterSpec> parameters() const override {
    // Embeddings have unit length: this gain gives hidden values of deviation about 1.
    return {weight("weight", shape_.width, shape_.embedding, std::sqrt(static_cast<double>(shape_.embedding))),
            {"bias", {shape_.width}, Init::Zeros, 0.0, false}};
  }

  Boundary output(const Boundary& input) const override {
    expect_input(*this, input, {});
    return hidden_boundary(shape_);
  }

  std::vector<std::string> reads() const override { return {"embedding"}; }

  TensorList forward(const TensorList& /*input*/, LayerContext& context) const override {
    const at::Tensor embedding = field_of(context, *this, "embedding").to(at::kFloat);
    const double noise = shape_.input_noise / std::sqrt(static_cast<double>(shape_.embedding));
    return {linear(add_noise(embedding, noise, context), context.parameters[0], context.parameters[1], context)};
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
    x = at::gelu(linear(x, p[2], p[3], context));
    x = linear(x, p[4], p[5], context);
    return {input[0] + dropout(x, shape_.dropout, context)};
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
            {"correctness.bias", {shape_.models}, Init::Zeros, 0.0, false},
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
    const at::Tensor logits = linear(x, p[2], p[3], context);
    const at::Tensor lengths = linear(x, p[4], p[5], context);
    if (context.outputs != nullptr) {
      (*context.outputs)["correctness"] = logits.detach();
      (*context.outputs)["length"] = lengths.detach();
    }
    const at::Tensor wrong =
        at::binary_cross_entropy_with_logits(logits, field_of(context, *this, "correct"), {}, {}, at::Reduction::Sum);
    const at::Tensor missed = at::mse_loss(lengths, field_of(context, *this, "length"), at::Reduction::Sum);
    return {(wrong + missed * shape_.length_weight) / static_cast<double>(shape_.models)};
  }

 private:
  Shape shape_;
};

}  // namespace

Workload make_router(const WorkloadConfig& config) {
  TableReader options(config.options, config.source, "workload_options");
  const std::string data = options.text("data", "data/mmlu_pro");
  std::shared_ptr<const RouterData> source;
  if (data == "synthetic") {
    const SyntheticRouterOptions defaults;
    SyntheticRouterOptions synthetic;
    synthetic.embedding = options.integer("embedding", defaults.embedding, 1, 1 << 16);
    synthetic.models = options.integer("models", defaults.models, 1, 1 << 12);
    synthetic.samples = options.integer("samples", defaults.samples, 1, 1 << 24);
    synthetic.seed = static_cast<std::uint64_t>(options.integer("data_seed", 1, 0, 1LL << 62));
    source = synthetic_router_data(synthetic);
  } else {
    source = read_router_data(config.folder / data);
  }
  Shape shape{};
  shape.embedding = source->embedding_width();
  shape.models = source->models();
  shape.width = options.integer("width", 512, 1, 1 << 16);
  shape.hidden = options.integer("hidden", 4 * shape.width, 1, 1 << 18);
  shape.blocks = options.integer("blocks", 8, 0, 10000);
  shape.dropout = options.number("dropout", 0.1, 0.0, 0.99);
  shape.length_weight = options.number("length_weight", 0.1, 0.0, 1e6);
  shape.input_noise = options.number("input_noise", 0.0, 0.0, 1e3);
  options.finish();

  Workload workload{config.name, {std::make_shared<RouterInput>(shape)}, source};
  for (std::int64_t i = 0; i < shape.blocks; ++i) {
    workload.layers.push_back(std::make_shared<RouterBlock>(shape, i));
  }
  workload.layers.push_back(std::make_shared<RouterHead>(shape));
  return workload;
}

}  // namespace motley

#include "model.h"

#include <ATen/ATen.h>

#include <cmath>

#include "images.h"
#include "motley/base/error.h"
#include "motley/config/table_reader.h"
#include "motley/workloads/functions.h"

namespace shapes {
namespace {

using motley::Boundary;
using motley::LayerContext;
using motley::ParameterSpec;
using motley::TensorList;

struct Shape {
  std::int64_t channels;
  std::int64_t side;
};

/// What crosses every cut of this model, for one sample.
Boundary hidden(const Shape& shape) {
  return {{"hidden", {shape.channels, shape.side, shape.side}}};
}

ParameterSpec kernel(const std::string& name, std::int64_t out, std::int64_t in) {
  // Deviation as in He et al. (ICCV 2015), for ReLU.
  return {name, {out, in, 3, 3}, ParameterSpec::Init::Normal, std::sqrt(2.0 / static_cast<double>(9 * in)), true};
}

// Any operator of LibTorch that autograd knows may be used.
at::Tensor convolve(const at::Tensor& x, const at::Tensor& weights) {
  return at::conv2d(x, weights, {}, 1, 1);
}

class Stem final : public motley::Layer {
 public:
  explicit Stem(Shape shape) : shape_(shape) {}

  std::string name() const override { return "stem"; }
  std::vector<ParameterSpec> parameters() const override { return {kernel("kernel", shape_.channels, 1)}; }
  std::vector<std::string> reads() const override { return {"image"}; }

  Boundary output(const Boundary& input) const override {
    motley::expect_input(*this, input, {});
    return hidden(shape_);
  }

  TensorList forward(const TensorList& /*input*/, LayerContext& context) const override {
    return {convolve(motley::field_of(context, *this, "image"), context.parameters[0])};
  }

 private:
  Shape shape_;
};

// Normalises over groups of channels, never over the batch: a batch norm would see micro-batches, and what is learnt
// would depend on the plan.
class Block final : public motley::Layer {
 public:
  Block(Shape shape, std::int64_t index) : shape_(shape), index_(index) {}

  std::string name() const override { return "block" + std::to_string(index_); }

  std::vector<ParameterSpec> parameters() const override {
    const std::int64_t n = shape_.channels;
    using Init = ParameterSpec::Init;
    return {{"gain1", {n}, Init::Ones}, {"bias1", {n}, Init::Zeros}, kernel("kernel1", n, n),
            {"gain2", {n}, Init::Ones}, {"bias2", {n}, Init::Zeros}, kernel("kernel2", n, n)};
  }

  Boundary output(const Boundary& input) const override {
    motley::expect_input(*this, input, hidden(shape_));
    return hidden(shape_);
  }

  TensorList forward(const TensorList& input, LayerContext& context) const override {
    const auto& p = context.parameters;
    const at::Tensor inner = convolve(activate(input[0], p[0], p[1]), p[2]);
    return {input[0] + convolve(activate(inner, p[3], p[4]), p[5])};
  }

 private:
  static at::Tensor activate(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias) {
    return at::relu(at::group_norm(x, 4, gain, bias, 1e-5, false));
  }

  Shape shape_;
  std::int64_t index_;
};

class Head final : public motley::Layer {
 public:
  explicit Head(Shape shape) : shape_(shape) {}

  std::string name() const override { return "head"; }

  std::vector<ParameterSpec> parameters() const override {
    const double deviation = 1.0 / std::sqrt(static_cast<double>(shape_.channels));
    return {{"weight", {kKinds, shape_.channels}, ParameterSpec::Init::Normal, deviation, true},
            {"bias", {kKinds}, ParameterSpec::Init::Zeros}};
  }

  std::vector<std::string> reads() const override { return {"kind"}; }

  Boundary output(const Boundary& input) const override {
    motley::expect_input(*this, input, hidden(shape_));
    return {};
  }

  // motley::linear gives its weight gradient apart from its input gradient, which at::linear does not; both are right.
  TensorList forward(const TensorList& input, LayerContext& context) const override {
    const at::Tensor pooled = input[0].mean({2, 3});
    const at::Tensor logits = motley::linear(pooled, context.parameters[0], context.parameters[1], context);
    if (context.outputs != nullptr) {
      (*context.outputs)["logits"] = logits.detach();
    }
    return {at::cross_entropy_loss(logits, motley::field_of(context, *this, "kind"), {}, at::Reduction::Sum)};
  }

 private:
  Shape shape_;
};

}  // namespace

motley::Workload make_shapes(const motley::WorkloadConfig& config) {
  motley::TableReader options = config.reader();
  Shape shape{};
  shape.channels = options.integer("channels", 16, 4, 4096, "of a block, a multiple of 4");
  shape.side = options.integer("side", 16, 8, 1024, "of the square images, pixels");
  const std::int64_t blocks = options.integer("blocks", 4, 0, 1000, "a layer each");
  const std::int64_t samples = options.integer("samples", 4000, 1, 1LL << 40, "of the training split");
  const double noise = options.number("noise", 0.5, 0.0, 100.0, "standard deviation, of pixels");
  options.finish();
  if (shape.channels % 4 != 0) {
    throw motley::InputError::of("{}: workload_options.channels: found {}, expected a multiple of 4", config.source,
                                 shape.channels);
  }

  motley::Workload workload{
      config.name, {std::make_shared<Stem>(shape)}, std::make_shared<Images>(samples, shape.side, noise)};
  for (std::int64_t i = 0; i < blocks; ++i) {
    workload.layers.push_back(std::make_shared<Block>(shape, i));
  }
  workload.layers.push_back(std::make_shared<Head>(shape));
  return workload;
}

}  // namespace shapes

#include "motley/workloads/transformer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "motley/base/error.h"
#include "motley/config/table_reader.h"
#include "motley/kernels/mix.h"
#include "motley/workloads/functions.h"

namespace motley {
namespace {

using kernels::mix;

using Init = ParameterSpec::Init;

constexpr double kNormEpsilon = 1e-5;
constexpr double kDeviation = 0.02;  // of initial weights, GPT-2's

struct Shape {
  std::int64_t width;
  std::int64_t heads;
  std::int64_t blocks;
  std::int64_t sequence;
  std::int64_t vocabulary;
  DType type;  // of activations
};

Boundary hidden_boundary(const Shape& shape) {
  return {{"hidden", {shape.sequence, shape.width}, shape.type, true}};
}

ParameterSpec weight(const std::string& name, std::int64_t rows, std::int64_t columns, double deviation = kDeviation) {
  return {name, {rows, columns}, Init::Normal, deviation, true};
}

ParameterSpec zeros(const std::string& name, std::int64_t size) {
  return {name, {size}, Init::Zeros, 0.0, false};
}
ParameterSpec ones(const std::string& name, std::int64_t size) {
  return {name, {size}, Init::Ones, 0.0, false};
}

class TransformerInput final : public Layer {
 public:
  explicit TransformerInput(const Shape& shape) : shape_(shape) {}

  std::string name() const override { return "embedding"; }

  std::vector<ParameterSpec> parameters() const override {
    return {weight("tokens", shape_.vocabulary, shape_.width), weight("positions", shape_.sequence, shape_.width)};
  }

  Boundary output(const Boundary& input) const override {
    expect_input(*this, input, {});
    return hidden_boundary(shape_);
  }

  std::vector<std::string> reads() const override { return {"tokens"}; }

  TensorList forward(const TensorList& /*input*/, LayerContext& context) const override {
    const at::Tensor& tokens = field_of(context, *this, "tokens");
    const at::Tensor places = at::arange(shape_.sequence, tokens.options());
    return {embedding(tokens, context.parameters[0], context) + embedding(places, context.parameters[1], context)};
  }

 private:
  Shape shape_;
};

/// A block, or one of its halves as a layer of its own.
class TransformerBlock final : public Layer {
 public:
  enum class Part { Whole, Attention, Mlp };

  TransformerBlock(const Shape& shape, std::int64_t index, Part part) : shape_(shape), index_(index), part_(part) {}

  std::string name() const override {
    const char* const part = part_ == Part::Attention ? ".attention" : part_ == Part::Mlp ? ".mlp" : "";
    return "block" + std::to_string(index_) + part;
  }

  std::vector<ParameterSpec> parameters() const override {
    const std::int64_t width = shape_.width;
    const double branch = kDeviation / std::sqrt(2.0 * static_cast<double>(shape_.blocks));
    std::vector<ParameterSpec> specs;
    if (part_ != Part::Mlp) {
      specs = {ones("norm1.gain", width),
               zeros("norm1.bias", width),
               weight("attention.weight", 3 * width, width),
               zeros("attention.bias", 3 * width),
               weight("projection.weight", width, width, branch),
               zeros("projection.bias", width)};
    }
    if (part_ != Part::Attention) {
      specs.insert(specs.end(), {ones("norm2.gain", width), zeros("norm2.bias", width),
                                 weight("up.weight", 4 * width, width), zeros("up.bias", 4 * width),
                                 weight("down.weight", width, 4 * width, branch), zeros("down.bias", width)});
    }
    return specs;
  }

  Boundary output(const Boundary& input) const override {
    expect_input(*this, input, hidden_boundary(shape_));
    return hidden_boundary(shape_);
  }

  TensorList forward(const TensorList& input, LayerContext& context) const override {
    switch (part_) {
      case Part::Attention:
        return {attention(input[0], context.parameters, context)};
      case Part::Mlp:
        return {mlp(input[0], context.parameters, context)};
      default:
        return {mlp(attention(input[0], context.parameters.first(6), context), context.parameters.last(6), context)};
    }
  }

 private:
  at::Tensor attention(const at::Tensor& x, std::span<const at::Tensor> p, const LayerContext& context) const {
    const std::int64_t samples = x.size(0);
    const at::Tensor qkv = linear(layer_norm(x, p[0], p[1], kNormEpsilon, context), p[2], p[3], context)
                               .view({samples, shape_.sequence, 3, shape_.heads, shape_.width / shape_.heads})
                               .permute({2, 0, 3, 1, 4});
    const at::Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {}, 0.0, /*is_causal=*/true)
                                 .transpose(1, 2)
                                 .reshape({samples, shape_.sequence, shape_.width});
    return x + linear(mixed, p[4], p[5], context);
  }

  static at::Tensor mlp(const at::Tensor& x, std::span<const at::Tensor> p, const LayerContext& context) {
    const at::Tensor up = linear(layer_norm(x, p[0], p[1], kNormEpsilon, context), p[2], p[3], context);
    return x + linear(at::gelu(up), p[4], p[5], context);
  }

  Shape shape_;
  std::int64_t index_;
  Part part_;
};

class TransformerHead final : public Layer {
 public:
  explicit TransformerHead(const Shape& shape) : shape_(shape) {}

  std::string name() const override { return "head"; }

  std::vector<ParameterSpec> parameters() const override {
    return {ones("norm.gain", shape_.width), zeros("norm.bias", shape_.width),
            weight("weight", shape_.vocabulary, shape_.width)};
  }

  Boundary output(const Boundary& input) const override {
    expect_input(*this, input, hidden_boundary(shape_));
    return {};
  }

  std::vector<std::string> reads() const override { return {"targets"}; }

  TensorList forward(const TensorList& input, LayerContext& context) const override {
    const auto& p = context.parameters;
    const at::Tensor logits =
        linear(layer_norm(input[0], p[0], p[1], kNormEpsilon, context), p[2], {}, context).to(at::kFloat);
    if (context.outputs != nullptr) {
      (*context.outputs)["logits"] = logits.detach();
    }
    const at::Tensor targets = field_of(context, *this, "targets").reshape({-1});
    const at::Tensor sum =
        at::cross_entropy_loss(logits.view({-1, shape_.vocabulary}), targets, {}, at::Reduction::Sum);
    return {sum / static_cast<double>(shape_.sequence)};
  }

 private:
  Shape shape_;
};

// The next token follows from the two before it three times out of four, else it is drawn at random.
class MarkovText final : public DataSource {
 public:
  MarkovText(std::int64_t samples, std::int64_t sequence, std::int64_t vocabulary, std::uint64_t seed)
      : samples_(samples), sequence_(sequence), vocabulary_(static_cast<std::uint64_t>(vocabulary)), seed_(seed) {}

  std::int64_t size(Split split) const override {
    return split == Split::Train ? samples_ : std::max<std::int64_t>(samples_ / 10, 1);
  }

  std::vector<std::string> fields() const override { return {"tokens", "targets"}; }

  Fields fetch(std::span<const std::string> names, Split split, std::span<const std::int64_t> samples) const override {
    Fields fields;
    for (const std::string& name : names) {
      if (name != "tokens" && name != "targets") {
        throw InputError::of("synthetic text: found field \"{}\", expected \"tokens\" or \"targets\"", name);
      }
      const std::int64_t shift = name == "targets" ? 1 : 0;
      at::Tensor rows = at::empty({static_cast<std::int64_t>(samples.size()), sequence_}, at::kLong);
      auto* to = rows.mutable_data_ptr<std::int64_t>();
      for (const std::int64_t sample : samples) {
        const std::vector<std::int64_t> text = text_of(split, sample);
        to = std::copy(text.begin() + shift, text.begin() + shift + sequence_, to);
      }
      fields[name] = rows;
    }
    return fields;
  }

 private:
  std::vector<std::int64_t> text_of(Split split, std::int64_t sample) const {
    MOTLEY_CHECK(sample >= 0 && sample < size(split), "sample {} of {}", sample, size(split));
    const std::uint64_t key =
        mix(mix(mix(seed_) ^ static_cast<std::uint64_t>(split)) ^ static_cast<std::uint64_t>(sample));
    std::vector<std::int64_t> text;
    std::uint64_t before = 0;
    std::uint64_t last = 0;
    for (std::int64_t i = 0; i <= sequence_; ++i) {
      const std::uint64_t draw = mix(key + static_cast<std::uint64_t>(i));
      const bool follows = i >= 2 && draw % 4 != 0;
      const std::uint64_t next = (follows ? mix(mix(seed_ ^ before) ^ last) : draw >> 2) % vocabulary_;
      before = last;
      last = next;
      text.push_back(static_cast<std::int64_t>(next));
    }
    return text;
  }

  std::int64_t samples_;
  std::int64_t sequence_;
  std::uint64_t vocabulary_;
  std::uint64_t seed_;
};

}  // namespace

Workload make_transformer(const WorkloadConfig& config) {
  TableReader options = config.reader();
  Shape shape{};
  shape.type = config.activations;
  shape.width = options.integer("width", 256, 1, 1 << 16, "of the model");
  shape.heads = options.integer("heads", 4, 1, 1 << 10, "of attention, a divisor of width");
  shape.blocks = options.integer("blocks", 4, 0, 10000, "decoder blocks");
  const std::int64_t per_block =
      options.integer("layers_per_block", 1, 1, 2, "2: attention and MLP apart, so that plans can cut between them");
  shape.sequence = options.integer("sequence", 64, 1, 1 << 20, "tokens a sample");
  shape.vocabulary = options.integer("vocabulary", 256, 2, 1 << 24, "token kinds");
  const std::int64_t samples = options.integer("samples", 4096, 1, 1LL << 40, "of the training split");
  const auto seed = static_cast<std::uint64_t>(options.integer("data_seed", 1, 0, 1LL << 62, "of the data"));
  options.finish();
  if (shape.width % shape.heads != 0) {
    throw InputError::of("workload transformer: heads = {}: expected a divisor of width = {}", shape.heads,
                         shape.width);
  }

  Workload workload{config.name,
                    {std::make_shared<TransformerInput>(shape)},
                    std::make_shared<MarkovText>(samples, shape.sequence, shape.vocabulary, seed)};
  for (std::int64_t i = 0; i < shape.blocks; ++i) {
    if (per_block == 1) {
      workload.layers.push_back(std::make_shared<TransformerBlock>(shape, i, TransformerBlock::Part::Whole));
    } else {
      workload.layers.push_back(std::make_shared<TransformerBlock>(shape, i, TransformerBlock::Part::Attention));
      workload.layers.push_back(std::make_shared<TransformerBlock>(shape, i, TransformerBlock::Part::Mlp));
    }
  }
  workload.layers.push_back(std::make_shared<TransformerHead>(shape));
  return workload;
}

}  // namespace motley

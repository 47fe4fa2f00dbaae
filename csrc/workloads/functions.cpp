#include "motley/workloads/functions.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "motley/base/error.h"
#include "motley/kernels/dropout/dropout.h"
#include "motley/kernels/router_score/router_score.h"
#include "motley/workloads/expect_launched.h"

namespace motley {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The queue rides through autograd's context as a number: it belongs to the stage, which keeps it until the
// micro-batch's weight gradients are done.
void keep_queue(AutogradContext* context, WeightGradients* queue) {
  context->saved_data["queue"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(queue));
}

WeightGradients* kept_queue(const AutogradContext* context) {
  const auto value = static_cast<std::intptr_t>(context->saved_data.at("queue").toInt());
  return reinterpret_cast<WeightGradients*>(value);  // NOLINT(performance-no-int-to-ptr): autograd keeps integers only
}

// As the queue: what is launched is in the device's order, whose table and stream outlive every stage.
void keep_device(AutogradContext* context, const kernels::KernelQueue& device) {
  context->saved_data["kernels"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(device.kernels));
  context->saved_data["stream"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(device.stream));
}

kernels::KernelQueue kept_device(const AutogradContext* context) {
  const auto pointer = [&](const char* name) {
    const auto value = static_cast<std::intptr_t>(context->saved_data.at(name).toInt());
    return reinterpret_cast<void*>(value);  // NOLINT(performance-no-int-to-ptr): autograd keeps integers only
  };
  return {static_cast<const kernels::DeviceKernels*>(pointer("kernels")), pointer("stream")};
}

at::Tensor rows(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)});
}

// Sums are float32. In mixed precision a micro-batch's own gradient comes in bfloat16.
void add_product(const at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (sum.scalar_type() == a.scalar_type()) {
    at::Tensor(sum).addmm_(a, b);
  } else {
    at::Tensor(sum).add_(at::mm(a, b));
  }
}

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, WeightGradients* queue) {
    context->save_for_backward({x, weight, bias.value_or(at::Tensor())});
    keep_queue(context, queue);
    return at::linear(x, weight, bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor dy = gradients[0].contiguous();
    WeightGradients* queue = kept_queue(context);
    queue->add([dy, x, weight_sum = queue->slot(weight),
                bias_sum = saved[2].defined() ? queue->slot(saved[2]) : at::Tensor()] {
      const at::Tensor dy_rows = rows(dy);
      add_product(weight_sum, dy_rows.t(), rows(x));
      if (bias_sum.defined()) {
        bias_sum.add_(dy_rows.sum(0, false, bias_sum.scalar_type()));
      }
    });
    at::Tensor dx;
    if (context->needs_input_grad(0)) {
      dx = at::matmul(rows(dy), weight).view(x.sizes());
    }
    return {dx, {}, {}, {}};
  }
};

struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& tokens, const at::Tensor& weight,
                            WeightGradients* queue) {
    context->save_for_backward({tokens, weight});
    keep_queue(context, queue);
    return at::embedding(weight, tokens);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    WeightGradients* queue = kept_queue(context);
    queue->add([dy = gradients[0].contiguous(), tokens = saved[0], weight_sum = queue->slot(saved[1])] {
      weight_sum.index_add_(0, tokens.reshape({-1}), rows(dy).to(weight_sum.scalar_type()));
    });
    return {{}, {}, {}};
  }
};

struct LayerNorm : torch::autograd::Function<LayerNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gain,
                            const at::Tensor& bias, double epsilon, WeightGradients* queue) {
    auto [y, mean, deviation] = at::native_layer_norm(x, {x.size(-1)}, gain, bias, epsilon);
    context->save_for_backward({x, gain, bias, mean, deviation});
    keep_queue(context, queue);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor dy = gradients[0].contiguous();
    WeightGradients* queue = kept_queue(context);
    queue->add([dy, saved, gain_sum = queue->slot(saved[1]), bias_sum = queue->slot(saved[2])] {
      const auto [dx, d_gain, d_bias] = at::native_layer_norm_backward(
          dy, saved[0], {saved[0].size(-1)}, saved[3], saved[4], saved[1], saved[2], {false, true, true});
      gain_sum.add_(d_gain);
      bias_sum.add_(d_bias);
    });
    at::Tensor dx;
    if (context->needs_input_grad(0)) {
      dx = std::get<0>(at::native_layer_norm_backward(dy, saved[0], {saved[0].size(-1)}, saved[3], saved[4], saved[1],
                                                      saved[2], {true, false, false}));
    }
    return {dx, {}, {}, {}, {}};
  }
};

kernels::Element element_of(const at::Tensor& x) {
  MOTLEY_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "a kernel for {}",
               at::toString(x.scalar_type()));
  return x.scalar_type() == at::kFloat ? kernels::Element::Float32 : kernels::Element::BFloat16;
}

// Gradients do not depend on the bias. In mixed precision x and weight are bfloat16, all else is float32.
kernels::RouterScoreInput router_input(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& labels,
                                       const at::Tensor& bias = {}) {
  return {.queries = static_cast<std::size_t>(x.size(0)),
          .models = static_cast<std::size_t>(weight.size(0)),
          .width = static_cast<std::size_t>(x.size(1)),
          .element = element_of(x),
          .query = x.const_data_ptr(),
          .model = weight.const_data_ptr(),
          .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
          .label = labels.const_data_ptr<float>(),
          .weight = nullptr,
          .positive = nullptr};
}

struct ScoresAndCrossEntropy : torch::autograd::Function<ScoresAndCrossEntropy> {
  static variable_list forward(AutogradContext* context, const at::Tensor& given, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& labels, WeightGradients* queue) {
    const at::Tensor x = given.contiguous();
    const at::Tensor wide_bias = bias.to(at::kFloat);
    const at::Tensor scores = at::empty({x.size(0), weight.size(0)}, wide_bias.options());
    const at::Tensor by_score = at::empty_like(scores);
    const double sum =
        kernels::router_score_on_cpu(router_input(x, weight, labels, wide_bias), scores.mutable_data_ptr<float>(),
                                     by_score.mutable_data_ptr<float>());
    context->save_for_backward({x, weight, bias, labels, by_score});
    context->mark_non_differentiable({scores});
    keep_queue(context, queue);
    return {scores, at::full({}, sum, scores.options())};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto& [x, weight, bias, labels, by_score] = std::tie(saved[0], saved[1], saved[2], saved[3], saved[4]);
    const float scale = gradients[1].item<float>();
    WeightGradients* queue = kept_queue(context);
    queue->add([saved, scale, weight_sum = queue->slot(weight), bias_sum = queue->slot(bias)] {
      kernels::router_model_gradient_on_cpu(router_input(saved[0], saved[1], saved[3]),
                                            saved[4].const_data_ptr<float>(), scale,
                                            weight_sum.mutable_data_ptr<float>(), bias_sum.mutable_data_ptr<float>());
    });
    at::Tensor dx;
    if (context->needs_input_grad(0)) {
      const at::Tensor wide = at::empty(x.sizes(), by_score.options());
      kernels::router_query_gradient_on_cpu(router_input(x, weight, labels), by_score.const_data_ptr<float>(), scale,
                                            wide.mutable_data_ptr<float>());
      dx = wide.to(x.scalar_type());
    }
    return {dx, {}, {}, {}, {}};
  }
};

// The same on a device: the input gradient of scale 1 comes with the scores, and nothing is read back.
struct LaunchedScoresAndCrossEntropy : torch::autograd::Function<LaunchedScoresAndCrossEntropy> {
  static variable_list forward(AutogradContext* context, const at::Tensor& given, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& labels, WeightGradients* queue,
                               const kernels::KernelQueue& device) {
    const at::Tensor x = given.contiguous();
    const at::Tensor wide_bias = bias.to(at::kFloat);
    const at::TensorOptions floats = wide_bias.options();
    const at::TensorOptions doubles = floats.dtype(at::kDouble);
    const at::Tensor scores = at::empty({x.size(0), weight.size(0)}, floats);
    const at::Tensor by_score = at::empty_like(scores);
    const at::Tensor by_x = at::empty(x.sizes(), floats);
    const at::Tensor sum = at::empty({}, doubles);
    const auto scratch_size = device.kernels->router_loss_scratch(static_cast<std::size_t>(x.size(0)));
    const at::Tensor scratch = at::empty({static_cast<std::int64_t>(scratch_size)}, doubles);
    expect_launched(
        *device.kernels,
        device.kernels->router_score(router_input(x, weight, labels, wide_bias), scratch.mutable_data_ptr<double>(),
                                     sum.mutable_data_ptr<double>(), scores.mutable_data_ptr<float>(),
                                     by_score.mutable_data_ptr<float>(), by_x.mutable_data_ptr<float>(), device.stream),
        "router_score");
    context->save_for_backward({x, weight, bias, labels, by_score, by_x});
    context->mark_non_differentiable({scores});
    keep_queue(context, queue);
    keep_device(context, device);
    return {scores, sum.to(at::kFloat)};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor scale = gradients[1].contiguous();
    WeightGradients* queue = kept_queue(context);
    queue->add([saved, scale, device = kept_device(context), weight_sum = queue->slot(saved[1]),
                bias_sum = queue->slot(saved[2])] {
      const kernels::RouterScoreInput input = router_input(saved[0], saved[1], saved[3]);
      const auto scratch_size = device.kernels->router_gradient_scratch(input);
      const at::Tensor scratch = at::empty({static_cast<std::int64_t>(scratch_size)}, saved[4].options());
      expect_launched(
          *device.kernels,
          device.kernels->router_model_gradient(input, saved[4].const_data_ptr<float>(), scale.const_data_ptr<float>(),
                                                scratch.mutable_data_ptr<float>(), weight_sum.mutable_data_ptr<float>(),
                                                bias_sum.mutable_data_ptr<float>(), device.stream),
          "router_model_gradient");
    });
    const at::Tensor dx = context->needs_input_grad(0) ? (saved[5] * scale).to(saved[0].scalar_type()) : at::Tensor();
    return {dx, {}, {}, {}, {}, {}};
  }
};

at::Tensor drop(const at::Tensor& input, const kernels::DropoutMask& mask, const kernels::KernelQueue& device) {
  if (!device && !input.is_cpu()) {
    // A device without kernels of ours: the host's mask, so that it is the same everywhere.
    const at::Tensor factors = drop(at::ones(input.sizes(), at::kFloat), mask, {});
    return (input.to(at::kFloat) * factors.to(input.device())).to(input.scalar_type());
  }
  const at::Tensor x = input.contiguous();
  at::Tensor y = at::empty_like(x);
  const kernels::Element element = element_of(x);
  const auto samples = static_cast<std::size_t>(x.size(0));
  const std::size_t width = samples == 0 ? 0 : static_cast<std::size_t>(x.numel()) / samples;
  const void* const from = x.const_data_ptr();
  void* const to = y.mutable_data_ptr();
  if (device) {
    expect_launched(*device.kernels, device.kernels->dropout(from, element, samples, width, mask, to, device.stream),
                    "dropout");
  } else {
    kernels::dropout_on_cpu(from, element, samples, width, mask, to);
  }
  return y;
}

struct Dropout : torch::autograd::Function<Dropout> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, std::int64_t key, std::int64_t first_sample,
                            std::int64_t threshold, const kernels::KernelQueue& device) {
    context->saved_data["key"] = key;
    context->saved_data["first_sample"] = first_sample;
    context->saved_data["threshold"] = threshold;
    keep_device(context, device);
    return drop(x, mask_of(context), device);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {drop(gradients[0], mask_of(context), kept_device(context)), {}, {}, {}, {}};
  }

  static kernels::DropoutMask mask_of(const AutogradContext* context) {
    const auto saved = [&](const char* name) { return context->saved_data.at(name).toInt(); };
    return {static_cast<std::uint64_t>(saved("key")), saved("first_sample"),
            static_cast<std::uint32_t>(saved("threshold"))};
  }
};

// Weights that are not the stage's own (tied through a transpose, computed) have no slot: autograd carries their
// gradient.
bool queued(const LayerContext& context, const at::Tensor& weight) {
  return context.queue != nullptr && context.queue->slot(weight).defined();
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const LayerContext& context) {
  const bool apart = queued(context, weight) && (!bias.defined() || queued(context, bias));
  // An undefined tensor may not be handed to a Function, an absent one may.
  const std::optional<at::Tensor> given = bias.defined() ? std::optional(bias) : std::nullopt;
  return apart ? Linear::apply(x, weight, given, context.queue) : at::linear(x, weight, bias);
}

at::Tensor embedding(const at::Tensor& tokens, const at::Tensor& weight, const LayerContext& context) {
  return queued(context, weight) ? Embedding::apply(tokens, weight, context.queue) : at::embedding(weight, tokens);
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon,
                      const LayerContext& context) {
  const bool apart = queued(context, gain) && queued(context, bias);
  return apart ? LayerNorm::apply(x, gain, bias, epsilon, context.queue)
               : at::layer_norm(x, {x.size(-1)}, gain, bias, epsilon);
}

ScoredLoss scores_and_cross_entropy(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                    const at::Tensor& labels, const LayerContext& context) {
  const bool apart = queued(context, weight) && queued(context, bias) && weight.scalar_type() == x.scalar_type();
  if (apart && context.kernels) {
    const variable_list results =
        LaunchedScoresAndCrossEntropy::apply(x, weight, bias, labels.contiguous(), context.queue, context.kernels);
    return {results[0], results[1]};
  }
  if (apart && x.is_cpu()) {
    const variable_list results = ScoresAndCrossEntropy::apply(x, weight, bias, labels.contiguous(), context.queue);
    return {results[0], results[1]};
  }
  const at::Tensor scores = linear(x, weight, bias, context).to(labels.scalar_type());
  const at::Tensor known = labels.isnan().logical_not().to(labels.scalar_type());
  return {scores.detach(),
          at::binary_cross_entropy_with_logits(scores, labels.nan_to_num(), known, {}, at::Reduction::Sum)};
}

at::Tensor dropout(const at::Tensor& x, double probability, const LayerContext& context, std::uint64_t site) {
  MOTLEY_CHECK(probability >= 0.0 && probability < 1.0, "dropout of {}", probability);
  const auto threshold = static_cast<std::int64_t>(std::lround(probability * 65536.0));
  if (!context.training || threshold == 0) {
    return x;
  }
  return Dropout::apply(x, static_cast<std::int64_t>(context.random.hash(site)), context.random.first_sample,
                        std::min<std::int64_t>(threshold, 65535), context.kernels);
}

}  // namespace motley

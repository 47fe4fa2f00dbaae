#include "motley/stage/parameter_buffers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "motley/kernels/squared_norm/squared_norm.h"
#include "motley/workloads/expect_launched.h"

namespace motley {
namespace {

constexpr std::int64_t kAlignedBytes = 64;
constexpr std::int64_t kAlignedFloats = kAlignedBytes / sizeof(float);

std::int64_t padded(std::int64_t elements, std::int64_t alignment) {
  return (elements + alignment - 1) / alignment * alignment;
}

/// A copy of `values` as bytes of `device`.
template <typename Value>
at::Tensor copied_to(at::Device device, std::vector<Value>& values) {
  return at::from_blob(values.data(), {static_cast<std::int64_t>(values.size() * sizeof(Value))}, at::kByte)
      .to(device, at::kByte, /*non_blocking=*/false, /*copy=*/true);
}

kernels::AdamwStep adamw_step(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  return kernels::adamw_step_of(options.rate_at(step), options.beta1, options.beta2, options.epsilon,
                                options.weight_decay, step, clip_scale);
}

kernels::SgdStep sgd_step(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  return {static_cast<float>(clip_scale), static_cast<float>(options.rate_at(step)),
          static_cast<float>(options.weight_decay), static_cast<float>(options.momentum)};
}

}  // namespace

ParameterBuffers::ParameterBuffers(const std::vector<std::shared_ptr<const Layer>>& layers,
                                   const OptimizerOptions& options, at::Device device, kernels::KernelQueue queue)
    : queue_(queue) {
  const bool mixed = options.parameters == DType::BFloat16;
  const std::int64_t layer_alignment = mixed ? kAlignedBytes / std::int64_t{sizeof(std::uint16_t)} : kAlignedFloats;
  std::int64_t end = 0;
  for (const auto& layer : layers) {
    LayerRoom& room = rooms_.emplace_back();
    room.begin = end;
    room.offsets.push_back(0);
    for (const ParameterSpec& spec : layer->parameters()) {
      room.offsets.push_back(room.offsets.back() + padded(spec.elements(), kAlignedFloats));
      const auto run_end = static_cast<std::size_t>(room.begin + room.offsets.back());
      if (!decay_runs_.empty() && decay_runs_.back().decays == spec.weight_decay) {
        decay_runs_.back().end = run_end;
      } else {
        decay_runs_.push_back({run_end, spec.weight_decay});
      }
    }
    end = padded(room.begin + room.offsets.back(), layer_alignment);
    largest_ = std::max(largest_, end - room.begin);
  }
  if (!decay_runs_.empty()) {
    decay_runs_.back().end = static_cast<std::size_t>(end);
  }
  const at::TensorOptions floats = at::TensorOptions().dtype(at::kFloat).device(device);
  parameters_ = at::zeros({end}, floats);
  gradients_ = at::zeros({end}, floats);
  if (options.name == "adamw") {
    moments_ = {{"exp_avg", at::zeros({end}, floats)}, {"exp_avg_sq", at::zeros({end}, floats)}};
  } else if (options.state_buffers() == 1) {
    moments_ = {{"momentum", at::zeros({end}, floats)}};
  }
  if (mixed) {
    rounded_ = at::zeros({end}, floats.dtype(at::kBFloat16));
  }
  norms_.resize(layers.size());
  if (queue_ || !parameters_.is_cpu()) {
    norms_there_ = at::zeros({static_cast<std::int64_t>(layers.size())}, floats.dtype(at::kDouble));
  }
  if (queue_) {
    std::vector<std::size_t> begins;
    for (const LayerRoom& room : rooms_) {
      begins.push_back(static_cast<std::size_t>(room.begin));
    }
    begins.push_back(static_cast<std::size_t>(end));
    begins_there_ = copied_to(device, begins);
    runs_there_ = copied_to(device, decay_runs_);
    const std::size_t scratch = queue_.kernels->norm_scratch(layers.size(), static_cast<std::size_t>(largest_));
    norm_scratch_ = at::empty({static_cast<std::int64_t>(scratch)}, floats.dtype(at::kDouble));
  }
}

void ParameterBuffers::start_norms() {
  const at::NoGradGuard no_gradients;
  norms_started_ = true;
  if (queue_) {
    expect_launched(
        *queue_.kernels,
        queue_.kernels->squared_norms(gradients_.const_data_ptr(), kernels::Element::Float32,
                                      static_cast<const std::size_t*>(begins_there_.const_data_ptr()), rooms_.size(),
                                      static_cast<std::size_t>(largest_), norm_scratch_.mutable_data_ptr<double>(),
                                      norms_there_.mutable_data_ptr<double>(), queue_.stream),
        "squared_norms");
    return;
  }
  for (std::size_t layer = 0; layer < rooms_.size(); ++layer) {
    const std::int64_t size = rooms_[layer].offsets.back();
    if (gradients_.is_cpu()) {
      norms_[layer] = kernels::squared_norm_on_cpu(gradients_.const_data_ptr<float>() + rooms_[layer].begin,
                                                   kernels::Element::Float32, static_cast<std::size_t>(size));
    } else {
      norms_there_.select(0, static_cast<std::int64_t>(layer))
          .copy_(gradients_.narrow(0, rooms_[layer].begin, size).to(at::kDouble).square().sum());
    }
  }
}

const std::vector<double>& ParameterBuffers::norms() {
  if (!norms_started_) {
    start_norms();
  }
  norms_started_ = false;
  if (norms_there_.defined()) {
    const at::Tensor here = norms_there_.to(at::kCPU);
    std::copy_n(here.const_data_ptr<double>(), norms_.size(), norms_.begin());
  }
  return norms_;
}

void ParameterBuffers::zero_gradients() {
  const at::NoGradGuard no_gradients;
  gradients_.zero_();
  norms_started_ = false;
}

std::uint16_t* ParameterBuffers::rounded_bits() {
  return rounded_.defined() ? static_cast<std::uint16_t*>(rounded_.mutable_data_ptr()) : nullptr;
}

kernels::AdamwBuffers ParameterBuffers::adamw_buffers() {
  return {parameters_.mutable_data_ptr<float>(),
          rounded_bits(),
          gradients_.mutable_data_ptr(),
          kernels::Element::Float32,
          moments_[0].flat.mutable_data_ptr<float>(),
          moments_[1].flat.mutable_data_ptr<float>()};
}

kernels::SgdBuffers ParameterBuffers::sgd_buffers() {
  return {parameters_.mutable_data_ptr<float>(), rounded_bits(), gradients_.mutable_data_ptr<float>(),
          moments_.empty() ? nullptr : moments_[0].flat.mutable_data_ptr<float>()};
}

void ParameterBuffers::update(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  norms_started_ = false;
  if (queue_) {
    launch(options, step, clip_scale);
  } else if (parameters_.is_cpu()) {
    update_on_host(options, step, clip_scale);
  } else {
    update_by_operators(options, step, clip_scale);
  }
}

void ParameterBuffers::launch(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  const auto count = static_cast<std::size_t>(parameters_.numel());
  const auto* const runs = static_cast<const kernels::DecayRun*>(runs_there_.const_data_ptr());
  const int error = options.name == "adamw"
                        ? queue_.kernels->adamw(adamw_buffers(), count, runs, decay_runs_.size(),
                                                adamw_step(options, step, clip_scale), queue_.stream)
                        : queue_.kernels->sgd(sgd_buffers(), count, runs, decay_runs_.size(),
                                              sgd_step(options, step, clip_scale), queue_.stream);
  expect_launched(*queue_.kernels, error, options.name);
}

void ParameterBuffers::update_on_host(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  if (options.name == "adamw") {
    kernels::adamw_on_cpu(adamw_buffers(), decay_runs_.data(), decay_runs_.size(),
                          adamw_step(options, step, clip_scale));
  } else {
    kernels::sgd_on_cpu(sgd_buffers(), decay_runs_.data(), decay_runs_.size(), sgd_step(options, step, clip_scale));
  }
}

void ParameterBuffers::update_by_operators(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  const at::NoGradGuard no_gradients;
  const kernels::AdamwStep adamw = adamw_step(options, step, clip_scale);
  gradients_.mul_(clip_scale);
  kernels::for_each_run(decay_runs_.data(), decay_runs_.size(), [&](std::size_t begin, std::size_t count, bool decays) {
    const auto part = [&](const at::Tensor& flat) {
      return flat.narrow(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(count));
    };
    at::Tensor parameter = part(parameters_);
    at::Tensor gradient = part(gradients_);
    if (options.name == "adamw") {
      at::Tensor mean = part(moments_[0].flat);
      at::Tensor square = part(moments_[1].flat);
      mean.mul_(adamw.beta1).add_(gradient, adamw.rest1);
      square.mul_(adamw.beta2).addcmul_(gradient, gradient, adamw.rest2);
      if (decays) parameter.mul_(adamw.kept);
      parameter.addcdiv_(mean, square.sqrt().mul_(adamw.spread).add_(adamw.epsilon), -adamw.size);
    } else {
      if (decays) gradient.add_(parameter, options.weight_decay);
      if (!moments_.empty()) gradient = part(moments_[0].flat).mul_(options.momentum).add_(gradient);
      parameter.sub_(gradient, options.rate_at(step));
    }
  });
  gradients_.zero_();
  if (rounded_.defined()) {
    rounded_.copy_(parameters_);  // to nearest, ties to even, as kernels/bfloat16
  }
}

}  // namespace motley

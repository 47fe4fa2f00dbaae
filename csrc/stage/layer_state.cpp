#include "motley/stage/layer_state.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <span>

#include "motley/base/error.h"
#include "motley/kernels/squared_norm/squared_norm.h"

namespace motley {
namespace {

constexpr std::int64_t kAlignedFloats = 64 / sizeof(float);

// Step -1 belongs to initialisation: no training step has it.
constexpr std::int64_t kInitialisation = -1;

std::span<float> floats(const at::Tensor& flat, std::int64_t begin, std::int64_t end) {
  if (!flat.defined() || begin == end) {
    return {};
  }
  return {flat.data_ptr<float>() + begin, static_cast<std::size_t>(end - begin)};
}

void initialise(const at::Tensor& view, const ParameterSpec& spec, const at::Generator& generator) {
  switch (spec.init) {
    case ParameterSpec::Init::Zeros:
      break;
    case ParameterSpec::Init::Ones:
      view.fill_(1.0);
      break;
    case ParameterSpec::Init::Normal:
      view.normal_(0.0, spec.scale, generator);
      break;
    case ParameterSpec::Init::Uniform:
      view.uniform_(-spec.scale, spec.scale, generator);
      break;
    case ParameterSpec::Init::Given:
      MOTLEY_CHECK(static_cast<std::int64_t>(spec.given.size()) == spec.elements(), "{} values for {} elements of {}",
                   spec.given.size(), spec.elements(), spec.name);
      std::copy(spec.given.begin(), spec.given.end(), view.data_ptr<float>());
      break;
  }
}

}  // namespace

LayerState::LayerState(std::shared_ptr<const Layer> layer, int index, std::uint64_t seed,
                       const OptimizerOptions& options, at::Device device)
    : layer_(std::move(layer)), index_(index), specs_(layer_->parameters()) {
  const at::NoGradGuard no_gradients;
  offsets_.push_back(0);
  for (const ParameterSpec& spec : specs_) {
    const std::int64_t padded = (spec.elements() + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
    offsets_.push_back(offsets_.back() + padded);
    const auto end = static_cast<std::size_t>(offsets_.back());
    if (!decay_runs_.empty() && decay_runs_.back().decays == spec.weight_decay) {
      decay_runs_.back().end = end;
    } else {
      decay_runs_.push_back({end, spec.weight_decay});
    }
  }
  const std::int64_t size = offsets_.back();
  const at::TensorOptions floats_there = at::TensorOptions().dtype(at::kFloat).device(device);
  flat_parameters_ = at::zeros({size}, at::kFloat);
  flat_gradients_ = at::zeros({size}, floats_there);
  if (options.name == "adamw") {
    moments_ = {{"exp_avg", at::zeros({size}, floats_there)}, {"exp_avg_sq", at::zeros({size}, floats_there)}};
  } else if (options.state_buffers() == 1) {
    moments_ = {{"momentum", at::zeros({size}, floats_there)}};
  }
  gradients_ = views_of(flat_gradients_);
  const at::Generator generator = RandomKey{seed, kInitialisation, index, 0, 0}.generator();
  const std::vector<at::Tensor> initial = views_of(flat_parameters_);
  for (std::size_t i = 0; i < initial.size(); ++i) {
    initialise(initial[i], specs_[i], generator);
  }
  flat_parameters_ = flat_parameters_.to(device);
  if (options.parameters == DType::BFloat16) {
    flat_rounded_ = at::empty({size}, floats_there.dtype(at::kBFloat16));
    parameters_written();
  }
  for (const at::Tensor& view : views_of(flat_rounded_.defined() ? flat_rounded_ : flat_parameters_)) {
    parameters_.push_back(view.detach().requires_grad_());
  }
}

void LayerState::parameters_written() const {
  if (!flat_rounded_.defined()) {
    return;
  }
  const at::NoGradGuard no_gradients;
  at::Tensor(flat_rounded_).copy_(flat_parameters_);  // to nearest, ties to even, as kernels/bfloat16
}

std::vector<at::Tensor> LayerState::views_of(const at::Tensor& flat) const {
  MOTLEY_CHECK(flat.numel() == offsets_.back(), "a buffer of {} for {} floats", flat.numel(), offsets_.back());
  std::vector<at::Tensor> views;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    views.push_back(flat.narrow(0, offsets_[i], specs_[i].elements()).view(specs_[i].shape));
  }
  return views;
}

double LayerState::gradient_squared_norm() const {
  if (!flat_gradients_.is_cpu()) {
    return flat_gradients_.to(at::kDouble).square().sum().item<double>();
  }
  return kernels::squared_norm_on_cpu(flat_gradients_.const_data_ptr(), kernels::Element::Float32,
                                      static_cast<std::size_t>(offsets_.back()));
}

void LayerState::update(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  if (!flat_parameters_.is_cpu()) {
    update_by_operators(options, step, clip_scale);
    parameters_written();
    return;
  }
  if (options.name == "adamw") {
    const kernels::AdamwBuffers buffers{
        flat_parameters_.mutable_data_ptr<float>(),
        flat_rounded_.defined() ? static_cast<std::uint16_t*>(flat_rounded_.mutable_data_ptr()) : nullptr,
        flat_gradients_.mutable_data_ptr(),
        kernels::Element::Float32,
        moments_[0].flat.mutable_data_ptr<float>(),
        moments_[1].flat.mutable_data_ptr<float>()};
    kernels::adamw_on_cpu(buffers, decay_runs_.data(), decay_runs_.size(),
                          kernels::adamw_step_of(options.rate_at(step), options.beta1, options.beta2, options.epsilon,
                                                 options.weight_decay, step, clip_scale));
    return;
  }
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const auto part = [&](const at::Tensor& flat) { return floats(flat, offsets_[i], offsets_[i + 1]); };
    sgd_step(part(flat_parameters_), part(flat_gradients_),
             moments_.empty() ? std::span<float>{} : part(moments_[0].flat), options, step,
             specs_[i].weight_decay ? options.weight_decay : 0.0, clip_scale);
  }
  parameters_written();
}

void LayerState::update_by_operators(const OptimizerOptions& options, std::int64_t step, double clip_scale) {
  const at::NoGradGuard no_gradients;
  const kernels::AdamwStep adamw = kernels::adamw_step_of(options.rate_at(step), options.beta1, options.beta2,
                                                          options.epsilon, options.weight_decay, step, clip_scale);
  flat_gradients_.mul_(clip_scale);
  std::size_t begin = 0;
  for (const kernels::DecayRun& run : decay_runs_) {
    const auto part = [&](const at::Tensor& flat) {
      return flat.narrow(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(run.end - begin));
    };
    at::Tensor parameter = part(flat_parameters_);
    at::Tensor gradient = part(flat_gradients_);
    if (options.name == "adamw") {
      at::Tensor mean = part(moments_[0].flat);
      at::Tensor square = part(moments_[1].flat);
      mean.mul_(adamw.beta1).add_(gradient, adamw.rest1);
      square.mul_(adamw.beta2).addcmul_(gradient, gradient, adamw.rest2);
      if (run.decays) parameter.mul_(adamw.kept);
      parameter.addcdiv_(mean, square.sqrt().mul_(adamw.spread).add_(adamw.epsilon), -adamw.size);
    } else {
      if (run.decays) gradient.add_(parameter, options.weight_decay);
      if (!moments_.empty()) gradient = part(moments_[0].flat).mul_(options.momentum).add_(gradient);
      parameter.sub_(gradient, options.rate_at(step));
    }
    begin = run.end;
  }
  flat_gradients_.zero_();
}

}  // namespace motley

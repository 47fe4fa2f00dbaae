#include "motley/stage/layer_state.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "motley/base/error.h"

namespace motley {
namespace {

// Step -1 belongs to initialisation: no training step has it.
constexpr std::int64_t kInitialisation = -1;

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
                       const ParameterBuffers& buffers, const LayerRoom& room)
    : layer_(std::move(layer)), index_(index), specs_(layer_->parameters()), offsets_(room.offsets) {
  const at::NoGradGuard no_gradients;
  const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, room.begin, offsets_.back()); };
  flat_parameters_ = part(buffers.parameters());
  flat_gradients_ = part(buffers.gradients());
  for (const Moment& moment : buffers.moments()) {
    moments_.push_back({moment.name, part(moment.flat)});
  }
  gradients_ = views_of(flat_gradients_);
  const at::Generator generator = RandomKey{seed, kInitialisation, index, 0, 0}.generator();
  const at::Tensor on_host = flat_parameters_.to(at::kCPU);  // the part itself where that is the host's
  const std::vector<at::Tensor> initial = views_of(on_host);
  for (std::size_t i = 0; i < initial.size(); ++i) {
    initialise(initial[i], specs_[i], generator);
  }
  if (!flat_parameters_.is_cpu()) {
    flat_parameters_.copy_(on_host);
  }
  if (buffers.rounded().defined()) {
    flat_rounded_ = part(buffers.rounded());
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

}  // namespace motley

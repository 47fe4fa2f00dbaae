#include "motley/stage/boundary_nodes.h"

#include <ATen/ATen.h>

namespace motley {
namespace {

class ContiguousGradients final : public torch::autograd::Node {
 public:
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    for (at::Tensor& gradient : gradients) {
      if (gradient.defined()) {
        gradient = gradient.contiguous();
      }
    }
    return std::move(gradients);
  }
};

}  // namespace

torch::autograd::variable_list InputGradients::apply(torch::autograd::variable_list&& gradients) {
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    watched_[i].gradient = std::move(gradients[i]);
  }
  return {};
}

void InputGradients::watch(at::Tensor& tensor) {
  watched_.push_back({tensor.sizes().vec(), tensor.options().requires_grad(false), {}});
  const auto place = add_input_metadata(tensor);
  torch::autograd::impl::set_gradient_edge(tensor, {getptr(), place});
}

TensorList InputGradients::take() {
  TensorList gradients;
  for (Watched& watched : watched_) {
    gradients.push_back(watched.gradient.defined() ? std::exchange(watched.gradient, {}).contiguous()
                                                   : at::zeros(watched.shape, watched.options));
  }
  return gradients;
}

TensorList pass_boundary(const TensorList& tensors, const Boundary& boundary) {
  std::shared_ptr<ContiguousGradients> node;
  TensorList passed;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    at::Tensor through = tensors[i].detach().contiguous();
    if (boundary[i].has_gradient && tensors[i].requires_grad()) {
      if (node == nullptr) {
        node = std::make_shared<ContiguousGradients>();
      }
      node->add_next_edge(torch::autograd::impl::gradient_edge(tensors[i]));
      const auto place = node->add_input_metadata(through);
      torch::autograd::impl::set_gradient_edge(through, {node, place});
    }
    passed.push_back(std::move(through));
  }
  return passed;
}

}  // namespace motley

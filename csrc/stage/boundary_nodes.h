#pragma once

#include <torch/csrc/autograd/function.h>

#include <memory>
#include <vector>

#include "motley/workloads/layer.h"

namespace motley {

/// The far end of a stage's graph: keeps the gradients that reach the stage's inputs. A leaf tensor would do so too,
/// but it would also keep the input's data alive where no operator saved it.
class InputGradients final : public torch::autograd::Node {
 public:
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override;

  /// Makes `tensor` (detached, fresh) an input whose gradient arrives here.
  void watch(at::Tensor& tensor);

  /// One for each watched tensor in order, contiguous; zeros where nothing depends on the tensor.
  [[nodiscard]] TensorList take();

 private:
  struct Watched {
    std::vector<std::int64_t> shape;
    at::TensorOptions options;
    at::Tensor gradient;
  };
  std::vector<Watched> watched_;
};

/// Between two layers of one stage: what a transfer would do to values (contiguous tensors) and to gradients, so that a
/// cut here changes no bit. Tensors of `boundary` without gradient are detached.
[[nodiscard]] TensorList pass_boundary(const TensorList& tensors, const Boundary& boundary);

}  // namespace motley

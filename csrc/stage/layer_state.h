#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "motley/kernels/adamw/adamw.h"
#include "motley/stage/optimizer.h"
#include "motley/workloads/layer.h"

namespace motley {

/// One layer's parameters, gradients and optimiser state: flat float32 buffers of the same layout, each parameter
/// starting at a multiple of 64 bytes, the padding zero.
class LayerState {
 public:
  /// Initialises from (seed, index of the layer in the workload) alone, so that any cut gives the same weights.
  LayerState(std::shared_ptr<const Layer> layer, int index, std::uint64_t seed, const OptimizerOptions& options);

  [[nodiscard]] const Layer& layer() const { return *layer_; }
  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] const std::vector<ParameterSpec>& specs() const { return specs_; }

  /// Views of the flat buffer in the order of specs(): leaves that require a gradient, shaped as specified.
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }
  [[nodiscard]] const std::vector<at::Tensor>& gradients() const { return gradients_; }

  [[nodiscard]] const at::Tensor& flat_parameters() const { return flat_parameters_; }
  [[nodiscard]] const at::Tensor& flat_gradients() const { return flat_gradients_; }

  /// "exp_avg" and "exp_avg_sq" (adamw) or "momentum" (sgd), flat.
  struct Moment {
    std::string name;
    at::Tensor flat;
  };
  [[nodiscard]] const std::vector<Moment>& moments() const { return moments_; }

  /// Views of `flat` (any buffer of this layer's layout) shaped as the parameters.
  [[nodiscard]] std::vector<at::Tensor> views_of(const at::Tensor& flat) const;

  [[nodiscard]] double gradient_squared_norm() const;

  void update(const OptimizerOptions& options, std::int64_t step, double clip_scale);

 private:
  std::shared_ptr<const Layer> layer_;
  int index_;
  std::vector<ParameterSpec> specs_;
  std::vector<std::int64_t> offsets_;  // in floats; one more than there are parameters
  std::vector<kernels::DecayRun> decay_runs_;
  at::Tensor flat_parameters_;
  at::Tensor flat_gradients_;
  std::vector<Moment> moments_;
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> gradients_;
};

}  // namespace motley

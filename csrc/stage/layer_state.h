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
/// starting at a multiple of 64 bytes, the padding zero. In mixed precision the layer computes with a bfloat16 copy of
/// that layout; gradients are summed in float32.
class LayerState {
 public:
  /// Initialises on the host from (seed, index of the layer in the workload) alone, so that any cut and any device
  /// gives the same weights.
  LayerState(std::shared_ptr<const Layer> layer, int index, std::uint64_t seed, const OptimizerOptions& options,
             at::Device device = at::kCPU);

  [[nodiscard]] const Layer& layer() const { return *layer_; }
  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] const std::vector<ParameterSpec>& specs() const { return specs_; }

  /// What the layer computes with, in the order of specs(): leaves that require a gradient, shaped as specified; views
  /// of flat_parameters(), or of its bfloat16 copy.
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }
  [[nodiscard]] const std::vector<at::Tensor>& gradients() const { return gradients_; }

  [[nodiscard]] const at::Tensor& flat_parameters() const { return flat_parameters_; }
  [[nodiscard]] const at::Tensor& flat_gradients() const { return flat_gradients_; }

  /// To be called when flat_parameters() was written into: rounds the bfloat16 copy anew.
  void parameters_written() const;

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

  /// The same by LibTorch's operators, on any device; differs by rounding.
  void update_by_operators(const OptimizerOptions& options, std::int64_t step, double clip_scale);

 private:
  std::shared_ptr<const Layer> layer_;
  int index_;
  std::vector<ParameterSpec> specs_;
  std::vector<std::int64_t> offsets_;  // in floats; one more than there are parameters
  std::vector<kernels::DecayRun> decay_runs_;
  at::Tensor flat_parameters_;
  at::Tensor flat_rounded_;  // bfloat16; undefined without mixed precision
  at::Tensor flat_gradients_;
  std::vector<Moment> moments_;
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> gradients_;
};

}  // namespace motley

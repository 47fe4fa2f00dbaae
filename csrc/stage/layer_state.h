#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "motley/stage/parameter_buffers.h"
#include "motley/workloads/layer.h"

namespace motley {

/// One layer and its part of a stage's flat buffers. In mixed precision the layer computes with the bfloat16 copy;
/// gradients are summed in float32.
class LayerState {
 public:
  /// The layer's part is `room` of `buffers`. Initialises it on the host from (seed, index of the layer in the
  /// workload) alone, so that any cut and any device gives the same weights.
  LayerState(std::shared_ptr<const Layer> layer, int index, std::uint64_t seed, const ParameterBuffers& buffers,
             const LayerRoom& room);

  [[nodiscard]] const Layer& layer() const { return *layer_; }
  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] const std::vector<ParameterSpec>& specs() const { return specs_; }

  /// What the layer computes with, in the order of specs(): leaves that require a gradient, shaped as specified; views
  /// of flat_parameters(), or of its bfloat16 copy.
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }
  [[nodiscard]] const std::vector<at::Tensor>& gradients() const { return gradients_; }

  [[nodiscard]] const at::Tensor& flat_parameters() const { return flat_parameters_; }
  [[nodiscard]] const at::Tensor& flat_gradients() const { return flat_gradients_; }
  [[nodiscard]] const std::vector<Moment>& moments() const { return moments_; }

  /// To be called when flat_parameters() was written into: rounds the bfloat16 copy anew.
  void parameters_written() const;

  /// Views of `flat` (any buffer of this layer's layout) shaped as the parameters.
  [[nodiscard]] std::vector<at::Tensor> views_of(const at::Tensor& flat) const;

 private:
  std::shared_ptr<const Layer> layer_;
  int index_;
  std::vector<ParameterSpec> specs_;
  std::vector<std::int64_t> offsets_;  // in elements; one more than there are parameters
  at::Tensor flat_parameters_;
  at::Tensor flat_rounded_;  // bfloat16; undefined without mixed precision
  at::Tensor flat_gradients_;
  std::vector<Moment> moments_;
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> gradients_;
};

}  // namespace motley

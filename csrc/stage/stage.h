#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/stage/layer_state.h"
#include "motley/stage/optimizer.h"
#include "motley/workloads/workload.h"

namespace motley {

/// Consecutive layers [first, end) of a workload on this device, and nothing of the other layers.
///
/// The bits of what it computes do not depend on where the workload is cut, nor on whether backward_input and
/// backward_weight run apart or as backward. One thread at a time; micro-batches are numbered within a step.
class Stage {
 public:
  /// `input` is what layer `first` is handed (boundaries_of(workload)[first]). Throws InputError when the layers do not
  /// fit or the options do not. `queue`: where `device` launches kernels (see ParameterBuffers).
  Stage(const Workload& workload, int first, int end, Boundary input, std::uint64_t seed, OptimizerOptions options,
        at::Device device = at::kCPU, kernels::KernelQueue queue = {});
  ~Stage();
  Stage(Stage&&) noexcept;
  Stage& operator=(Stage&&) noexcept;

  [[nodiscard]] const Boundary& input() const;
  [[nodiscard]] const Boundary& output() const;
  [[nodiscard]] int first() const;
  [[nodiscard]] int end() const;
  [[nodiscard]] bool is_last() const;

  /// Fields that its layers need, without doubles, sorted.
  [[nodiscard]] const std::vector<std::string>& reads() const;

  /// Forward of one micro-batch. With `training` the graph is kept until its backward pass: that graph keeps inputs and
  /// outputs only where an operator saved them. Returns the output boundary's tensors, contiguous and detached; the
  /// last stage returns {} and notes the loss. `outputs`, where given, gets the last layer's named predictions.
  /// `first_sample`: see RandomKey.
  TensorList forward(int micro_batch, std::int64_t step, TensorList input, const Fields& fields, bool training,
                     Fields* outputs = nullptr, std::int64_t first_sample = 0);

  /// The same values for training as forward(), but only the input is kept: recompute() must come before the backward
  /// pass (Chen et al., 2016, "Training deep nets with sublinear memory cost").
  TensorList forward_unsaved(int micro_batch, std::int64_t step, TensorList input, const Fields& fields,
                             std::int64_t first_sample = 0);

  /// Makes the graph of a micro-batch that had its forward_unsaved, bit for bit what forward() would have kept.
  /// `fields` as there.
  void recompute(int micro_batch, const Fields& fields);

  /// Gradients for the input tensors that have one, in order (none for the first stage). `grad_output`: one for each
  /// output tensor that has a gradient, in order; the last stage is handed {} and takes `loss_scale` (1 / samples of
  /// the global batch) as the gradient of its summed loss; elsewhere loss_scale is not used. Frees the graph and keeps
  /// what the weight gradients need.
  TensorList backward_input(int micro_batch, TensorList grad_output, double loss_scale);

  /// Adds the weight gradients of a micro-batch that had its backward_input. Since floating-point sums depend on their
  /// order, micro-batches of one step must come in ascending order: InternalError otherwise.
  void backward_weight(int micro_batch);

  /// Both at once, bit-equal, with less memory: nothing waits.
  TensorList backward(int micro_batch, TensorList grad_output, double loss_scale);

  /// Per layer, of the gradients summed so far. Add them in layer order over all stages for the norm to clip by. On a
  /// device reading them waits for it; with start_norms() before, and a wait for the device between, it does not.
  [[nodiscard]] std::vector<double> squared_norms();
  void start_norms();

  /// Optimiser step `step` (from 0) with gradients times `clip_scale`; gradients are zero afterwards.
  void update(std::int64_t step, double clip_scale);

  /// Summed loss of each micro-batch that had its forward since the last call, by ascending micro-batch: the caller
  /// adds them in that order. Empty unless is_last().
  [[nodiscard]] std::vector<double> take_loss();

  /// Drops every graph, queue and loss of an unfinished step, and zeroes gradients.
  void abandon_step();

  /// Micro-batches that had their forward but not all of their backward pass.
  [[nodiscard]] int in_flight() const;

  [[nodiscard]] Bytes parameter_bytes() const;  ///< padding to 64 bytes included, as for the others
  [[nodiscard]] Bytes gradient_bytes() const;
  [[nodiscard]] Bytes optimizer_bytes() const;  ///< moments, and in mixed precision the bfloat16 copy

  /// Parameters, flat gradients (what replicas reduce) and optimiser state, one per layer from `first`, for checkpoints
  /// and exports. Writing into the flat tensors changes the stage.
  [[nodiscard]] const std::vector<LayerState>& layers() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace motley

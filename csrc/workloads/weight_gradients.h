#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <unordered_map>
#include <vector>

namespace motley {

/// Where the gradient of each parameter of a stage is summed: parameter -> a view of the flat gradient buffer.
using GradientSlots = std::unordered_map<const c10::TensorImpl*, at::Tensor>;

/// The weight gradients that one micro-batch's backward pass leaves for later.
///
/// Functions such as `linear` hand in the work that adds dW to its slot. Where weight gradients were deferred it waits
/// for `run()`, else it runs at once. Both do the same arithmetic in the same order, so the bits agree.
class WeightGradients {
 public:
  /// `slots` must outlive this object.
  explicit WeightGradients(const GradientSlots& slots) : slots_(slots) {}
  WeightGradients(const WeightGradients&) = delete;
  WeightGradients& operator=(const WeightGradients&) = delete;

  /// The sum that the gradient of `parameter` belongs in; undefined where it is no parameter of the stage (a transposed
  /// or computed weight): its gradient must then take the ordinary way through autograd.
  [[nodiscard]] at::Tensor slot(const at::Tensor& parameter) const;

  /// True: work waits for `run()`. False: `add` runs it.
  void defer(bool deferred) { deferred_ = deferred; }

  void add(std::function<void()> work);

  /// Runs what waits, in the order of `add`, and frees what each piece kept.
  void run();

  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  const GradientSlots& slots_;
  std::vector<std::function<void()>> waiting_;
  bool deferred_ = false;
};

}  // namespace motley

#pragma once

#include <ATen/core/Tensor.h>

#include "motley/workloads/layer.h"

namespace motley {

// Operators whose weight gradients can be computed apart from their input gradients: where `context.queue` is set and
// the parameters are the stage's own, backward gives dX at once and hands the work for dW to the queue. Walking the
// graph twice with autograd::grad instead costs a zero-bubble schedule what it gains. Gradients equal plain LibTorch's.

/// x W^T + b. x: [..., in], W: [out, in], b: [out] or undefined. Result [..., out].
[[nodiscard]] at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                const LayerContext& context);

/// Rows of W [entries, width] by tokens (int64 [...]). Result [..., width].
[[nodiscard]] at::Tensor embedding(const at::Tensor& tokens, const at::Tensor& weight, const LayerContext& context);

/// Layer norm over the last dimension (Ba, Kiros, Hinton 2016). x: [..., n], gain and bias: [n].
[[nodiscard]] at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& bias, double epsilon,
                                    const LayerContext& context);

struct ScoredLoss {
  at::Tensor scores;  ///< [samples, out], without gradient
  at::Tensor sum;     ///< a scalar
};

/// Scores x W^T + b and the sum of their binary cross-entropy with `labels` ([samples, out], 0 to 1, NaN where nobody
/// knows: neither loss nor gradient). x: [samples, in], W: [out, in], b: [out], all float32 or all bfloat16; scores,
/// loss and labels are float32. One kernel does what takes LibTorch a linear layer, binary_cross_entropy_with_logits
/// and the derivatives of both.
[[nodiscard]] ScoredLoss scores_and_cross_entropy(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                                  const at::Tensor& labels, const LayerContext& context);

/// Inverted dropout of x [samples, ...], identity when not training. The mask of a sample is a function of the
/// context's key, of `site` (tells several dropouts in one layer apart) and of the sample's place in the micro-batch:
/// the same in every plan, replicated ones too. Nothing is saved: backward computes the mask again. `probability` in
/// [0, 1) is rounded to a multiple of 1/65536.
[[nodiscard]] at::Tensor dropout(const at::Tensor& x, double probability, const LayerContext& context,
                                 std::uint64_t site = 0);

}  // namespace motley

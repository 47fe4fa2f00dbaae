#pragma once

#include "motley/workloads/workload.h"

namespace shapes {

/// A residual convolutional network that says which shape a small noisy image shows.
///
/// Layers: `stem` (3x3 convolution, 1 -> channels), `block0`.. (group norm, ReLU, 3x3 convolution, twice, added to the
/// input) and `head` (mean over places, linear, cross-entropy). Outputs for evaluation: "logits" [samples, kinds].
///
/// Keys of [workload_options]: channels, blocks, side (of the square images), samples (of the training split), noise.
[[nodiscard]] motley::Workload make_shapes(const motley::WorkloadConfig& config);

}  // namespace shapes

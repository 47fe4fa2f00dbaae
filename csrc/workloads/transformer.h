#pragma once

#include "motley/workloads/workload.h"

namespace motley {

/// A decoder-only language model of any size on synthetic text, for measuring plans.
///
/// Layers: `embedding` (tokens + learnt positions), `block0`.. (pre-norm causal attention and GELU MLP of 4 * width; or
/// `block0.attention` and `block0.mlp` apart) and `head` (LayerNorm, logits, cross-entropy). The loss of a sample is
/// the mean over its positions. Data: fields "tokens" and "targets" (int64 [sequence]), a deterministic order-2 Markov
/// stream a sample, so that the loss can fall.
///
/// Keys: width, heads, blocks, layers_per_block, sequence, vocabulary, samples, data_seed.
[[nodiscard]] Workload make_transformer(const WorkloadConfig& config);

}  // namespace motley

#pragma once

#include "motley/workloads/workload.h"

namespace motley {

/// The router predictor: from a query's frozen sentence embedding, for each LLM of the pool, how likely it answers
/// right and how long its answer is.
///
/// Layers: `input` (embedding -> width), `block0`.. (pre-norm residual: LayerNorm, Linear to `hidden`, GELU, Linear,
/// dropout) and `head` (LayerNorm, one logit and one length per LLM). The loss of a sample is the mean over LLMs of the
/// binary cross-entropy of the logit plus `length_weight` times the squared error of the length, standardised log1p of
/// characters. Outputs for evaluation: "correctness" [samples, LLMs] (logits) and "length" [samples, LLMs]
/// (standardised).
///
/// Keys: data ("data/mmlu_pro", or "synthetic" with embedding, models, samples, data_seed), width, blocks, hidden,
/// dropout, length_weight, input_noise (deviation of normal noise added to the embedding in training, times 1/sqrt(its
/// width)).
[[nodiscard]] Workload make_router(const WorkloadConfig& config);

}  // namespace motley

#pragma once

#include "motley/workloads/workload.h"

namespace motley {

/// The router predictor: from a query's frozen sentence embedding, for each LLM of the pool, how likely it answers
/// right and how long its answer is.
///
/// Layers: `input` (embedding scaled to unit deviation, dropout, Linear to `width`), `block0`.. (pre-norm residual:
/// LayerNorm, Linear to `hidden`, GELU, dropout, Linear, dropout) and `head` (LayerNorm, one logit and one length per
/// LLM; the logits' bias starts at each LLM's log-odds on the training split). The loss of a sample is the mean over
/// LLMs of the binary cross-entropy of the logit plus `length_weight` times the smooth L1 distance (Huber, 1964, delta
/// 1) of the length, standardised log1p of characters. Outputs for evaluation: "correctness" [samples, LLMs] (logits)
/// and "length" [samples, LLMs] (standardised).
///
/// Keys: data ("data/mmlu_pro", or "synthetic" with embedding, models, samples, data_seed), width, blocks, hidden,
/// dropout, input_dropout, length_weight.
[[nodiscard]] Workload make_router(const WorkloadConfig& config);

}  // namespace motley

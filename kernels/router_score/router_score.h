#pragma once

#include <cstddef>
#include <cstdint>

#include "motley/kernels/element.h"

namespace motley::kernels {

/// Queries against the models of a pool: score(q, m) = query_q . model_m + bias_m, the log-odds that model m answers
/// query q right, and the weighted binary cross-entropy of what is known:
///
///   loss = sum over known (q, m) of weight_m * ((1 - label) * score + (1 + (positive_m - 1) * label) * log(1 +
///   exp(-score)))
///
/// which is LibTorch's binary_cross_entropy_with_logits with weight and pos_weight, reduced by sum. Matrices lie row by
/// row without gaps.
struct RouterScoreInput {
  std::size_t queries;
  std::size_t models;
  std::size_t width;
  Element element;        ///< of `query` and `model`; all else is float32
  const void* query;      ///< [queries, width]
  const void* model;      ///< [models, width]
  const float* bias;      ///< [models]
  const float* label;     ///< [queries, models], 0 to 1; NaN where nobody knows: neither loss nor gradient
  const float* weight;    ///< [models], or null: 1
  const float* positive;  ///< [models], or null: 1; what a right answer counts against a wrong one
};

// Forward, input gradient and weight gradient are apart, so that a zero-bubble schedule can put the last one off. Sums
// are over the input's own order, so that the bits do not depend on anything else.

/// Scores, the loss and its gradient by the scores, both [queries, models]. Returns the loss.
[[nodiscard]] double router_score_on_cpu(const RouterScoreInput& input, float* score, float* score_gradient);

/// The part of it that comes after the product: `score` is given.
[[nodiscard]] double router_loss_on_cpu(const RouterScoreInput& input, const float* score, float* score_gradient);

/// query_gradient[q] = scale * sum over m of score_gradient(q, m) * model_m. [queries, width].
void router_query_gradient_on_cpu(const RouterScoreInput& input, const float* score_gradient, float scale,
                                  float* query_gradient);

/// model_gradient[m] += scale * sum over q of score_gradient(q, m) * query_q, [models, width]; the same without query_q
/// for bias_gradient, [models].
void router_model_gradient_on_cpu(const RouterScoreInput& input, const float* score_gradient, float scale,
                                  float* model_gradient, float* bias_gradient);

/// Plain loops in double, which all others are compared with. Outputs as above, all overwritten.
void router_score_reference(const RouterScoreInput& input, double scale, double* score, double* loss,
                            double* score_gradient, double* query_gradient, double* model_gradient,
                            double* bias_gradient);

}  // namespace motley::kernels

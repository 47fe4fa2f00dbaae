#include <algorithm>

#include "motley/kernels/clones.h"
#include "motley/kernels/router_score/formula.h"
#include "motley/kernels/router_score/router_score.h"

namespace motley::kernels {
namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kChunk = 256;

/// Sums of loss by lane, and lanes in order: the same bits on every machine.
struct LossSum {
  double lanes[kLanes] = {};

  MOTLEY_INLINE void add(const float* loss, std::size_t count) {
    const std::size_t whole = count / kLanes * kLanes;
    for (std::size_t i = 0; i < whole; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        lanes[lane] += loss[i + lane];
      }
    }
    for (std::size_t i = whole; i < count; ++i) {
      lanes[i - whole] += loss[i];
    }
  }
  MOTLEY_INLINE double total() const {
    double sum = 0.0;
    for (const double lane : lanes) {
      sum += lane;
    }
    return sum;
  }
};

/// `weight` and `positive`, of a model each, are null together.
MOTLEY_INLINE void entropies(const float* __restrict score, const float* __restrict label,
                             const float* __restrict weight, const float* __restrict positive, std::size_t count,
                             float* __restrict gradient, float* __restrict loss) {
  if (weight == nullptr) {
    for (std::size_t i = 0; i < count; ++i) {
      const router::Entropy entropy = router::cross_entropy(score[i], label[i], 1.0F, 1.0F);
      gradient[i] = entropy.gradient;
      loss[i] = entropy.loss;
    }
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const router::Entropy entropy = router::cross_entropy(score[i], label[i], weight[i], positive[i]);
    gradient[i] = entropy.gradient;
    loss[i] = entropy.loss;
  }
}

MOTLEY_CLONES double plain_loss(const float* score, const float* label, std::size_t count, float* gradient) {
  LossSum sum;
  float loss[kChunk];
  for (std::size_t i = 0; i < count; i += kChunk) {
    const std::size_t here = std::min(kChunk, count - i);
    entropies(score + i, label + i, nullptr, nullptr, here, gradient + i, loss);
    sum.add(loss, here);
  }
  return sum.total();
}

/// A row of `models` after the other.
MOTLEY_CLONES double weighted_loss(const float* score, const float* label, const float* weight, const float* positive,
                                   std::size_t queries, std::size_t models, float* gradient) {
  LossSum sum;
  float loss[kChunk];
  float one_weight[kChunk];
  float one_positive[kChunk];
  for (std::size_t m = 0; m < models; m += kChunk) {
    const std::size_t here = std::min(kChunk, models - m);
    for (std::size_t i = 0; i < here; ++i) {
      one_weight[i] = weight == nullptr ? 1.0F : weight[m + i];
      one_positive[i] = positive == nullptr ? 1.0F : positive[m + i];
    }
    for (std::size_t q = 0; q < queries; ++q) {
      const std::size_t row = q * models + m;
      entropies(score + row, label + row, one_weight, one_positive, here, gradient + row, loss);
      sum.add(loss, here);
    }
  }
  return sum.total();
}

}  // namespace

double router_loss_on_cpu(const RouterScoreInput& input, const float* score, float* score_gradient) {
  if (input.weight == nullptr && input.positive == nullptr) {
    return plain_loss(score, input.label, input.queries * input.models, score_gradient);
  }
  return weighted_loss(score, input.label, input.weight, input.positive, input.queries, input.models, score_gradient);
}

}  // namespace motley::kernels

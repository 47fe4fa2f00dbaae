#include "motley/routing/metrics.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace motley {

double roc_auc(std::span<const double> scores, std::span<const std::uint8_t> labels) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  double rank_sum = 0.0;
  double positives = 0.0;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    while (end < order.size() && scores[order[end]] == scores[order[begin]]) {
      ++end;
    }
    const double rank = 0.5 * static_cast<double>(begin + 1 + end);  // mean of ranks begin + 1 .. end
    for (std::size_t i = begin; i < end; ++i) {
      if (labels[order[i]] != 0) {
        rank_sum += rank;
        positives += 1.0;
      }
    }
    begin = end;
  }
  const double negatives = static_cast<double>(order.size()) - positives;
  if (positives == 0.0 || negatives == 0.0) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives);
}

double brier(std::span<const double> probabilities, std::span<const std::uint8_t> labels) {
  double sum = 0.0;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const double error = probabilities[i] - (labels[i] != 0 ? 1.0 : 0.0);
    sum += error * error;
  }
  return sum / static_cast<double>(probabilities.size());
}

}  // namespace motley

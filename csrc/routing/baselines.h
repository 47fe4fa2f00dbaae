#pragma once

#include <vector>

#include "motley/routing/routing_data.h"

namespace motley {

/// Probabilities of a right answer, [rows.size(), models], row-major.
using Scores = std::vector<double>;

/// Share right of each model on the training split, the same for every query: its argmax is the best single LLM.
[[nodiscard]] Scores mean_scores(const RoutingData& data, const std::vector<std::size_t>& rows);

/// Share right of each model on the training queries of the same category.
[[nodiscard]] Scores category_scores(const RoutingData& data, const std::vector<std::size_t>& rows);

/// Of a nearest-neighbour vote.
struct Neighbours {
  int k = 0;
  double temperature = 0.0;  ///< a neighbour of cosine c counts exp((c - nearest) / temperature); 0: all count the same
};

struct Neighbour {
  std::size_t query = 0;
  float cosine = 0.0F;
};

/// For each of `rows` its `most` nearest training queries by cosine, nearest first. O(rows * train * width).
[[nodiscard]] std::vector<std::vector<Neighbour>> nearest_training(const RoutingData& data,
                                                                   const std::vector<std::size_t>& rows,
                                                                   std::size_t most);

/// Most neighbours that choose_neighbours() may choose.
inline constexpr std::size_t kMostNeighbours = 300;

/// Weighted mean outcome of the first k of each row's `nearest`.
[[nodiscard]] Scores neighbour_scores(const RoutingData& data, const std::vector<std::vector<Neighbour>>& nearest,
                                      const Neighbours& options);

/// Of k in {10, 20, 50, 100, 200, 300} and the temperatures 0, .05, .1 and .2 those with the best macro AUC on the
/// validation split, whose kMostNeighbours nearest are `nearest`; `weighted` false: temperature 0.
[[nodiscard]] Neighbours choose_neighbours(const RoutingData& data, const std::vector<std::vector<Neighbour>>& nearest,
                                           bool weighted);

/// (1 - weight) * a + weight * b.
[[nodiscard]] Scores blend(const Scores& a, const Scores& b, double weight);

/// The weight among 0, .1, ... 1 whose blend has the best macro AUC on the validation split; `a`, `b`: its scores.
[[nodiscard]] double choose_blend(const RoutingData& data, const Scores& a, const Scores& b);

/// Macro AUC of `scores` against the outcomes of `rows`: mean over models that have both classes.
[[nodiscard]] double macro_auc(const RoutingData& data, const std::vector<std::size_t>& rows, const Scores& scores);

}  // namespace motley

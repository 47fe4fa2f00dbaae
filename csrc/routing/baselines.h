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

/// Mean outcome of the k training queries nearest by cosine. O(rows * train * width).
[[nodiscard]] Scores neighbour_scores(const RoutingData& data, const std::vector<std::size_t>& rows, int k);

/// The k of {10, 20, 50, 100, 200, 300} with the best macro AUC on the validation split.
[[nodiscard]] int choose_neighbours(const RoutingData& data);

/// Macro AUC of `scores` against the outcomes of `rows`: mean over models that have both classes.
[[nodiscard]] double macro_auc(const RoutingData& data, const std::vector<std::size_t>& rows, const Scores& scores);

}  // namespace motley

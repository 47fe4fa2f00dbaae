#pragma once

#include <vector>

#include "motley/routing/baselines.h"

namespace motley {

/// A policy's mean price of a call and its share of right answers.
struct CostQuality {
  double usd = 0.0;
  double accuracy = 0.0;
};

/// Policies "ask the model with the greatest score - lambda * expected price" over a sweep of lambda, billed by the
/// true output lengths. `expected_usd` has the shape of `scores`.
[[nodiscard]] std::vector<CostQuality> sweep(const RoutingData& data, const std::vector<std::size_t>& rows,
                                             const Scores& scores, const std::vector<double>& expected_usd);

/// Every model asked alone.
[[nodiscard]] std::vector<CostQuality> single_models(const RoutingData& data, const std::vector<std::size_t>& rows);

/// Non-decreasing upper convex hull by cost: what mixing policies at random can reach.
[[nodiscard]] std::vector<CostQuality> hull(std::vector<CostQuality> points);

/// Average improvement in quality (AIQ; Hu et al., RouterBench, 2024): area under the hull over [from, to] USD, divided
/// by the width. Before its first point a hull is worth 0, after its last it stays level.
[[nodiscard]] double aiq(const std::vector<CostQuality>& hull, double from_usd, double to_usd);

}  // namespace motley

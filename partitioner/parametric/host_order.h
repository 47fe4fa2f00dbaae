#pragma once

#include <cstdint>
#include <vector>

#include "motley/partitioner/parametric/chain.h"

namespace motley::parametric {

/// A pipeline and the estimate of its iteration time.
struct OrderedChain {
  double time = 0.0;               ///< infinite: none found
  std::vector<ChainStage> stages;  ///< from the last to the first
};

/// Looks for the order of hosts, from the end of the pipeline, whose greedy chain has the least time. Bisection on the
/// period for `orders` and a few natural ones gives a first chain. Then simulated annealing over orders from below:
/// from `least_period` on the period rises until some order places all layers, then falls whenever that succeeds again.
/// `probes` chains in all, most of them rebuilt from the first host that moved only. Deterministic in `seed`.
/// `sure_to_fit` as in ChainLimits.
[[nodiscard]] OrderedChain search_orders(const ChainBuilder& builder, std::vector<std::vector<int>> orders,
                                         double least_period, std::int64_t probes, std::uint64_t seed,
                                         bool sure_to_fit);

}  // namespace motley::parametric

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "motley/partitioner/parametric/chain.h"

namespace motley::parametric {

/// A pipeline and the estimate of its iteration time.
struct OrderedChain {
  double time = 0.0;               ///< infinite: none found
  std::vector<ChainStage> stages;  ///< from the last to the first
  std::int64_t probes = 0;         ///< spent to find it
};

/// What a search of orders starts from and may spend.
struct OrderOptions {
  std::vector<std::vector<int>> orders;  ///< of blocks, from the end of the pipeline
  double least_period = 0.0;
  std::int64_t probes = 0;
  std::uint64_t seed = 0;
  double memory_share = 1.0;  ///< as in ChainLimits
  bool sure_to_fit = true;    ///< likewise
  double enough = 0.0;        ///< a time that is low enough: local search starts from there, not from below
  /// Asked of every such chain, each faster than the one before: whether to end with it.
  std::function<bool(const OrderedChain&)> is_enough = {};
  /// Asked before every chain: whether nobody waits for the result any more.
  std::function<bool()> is_over = {};
};

/// Looks for the order of blocks, from the end of the pipeline, whose greedy chain has the least time. Bisection on the
/// period for the given orders and a few natural ones gives a first chain. Then simulated annealing over orders from
/// below: from `least_period` on the period rises until some order places all layers, then falls whenever that succeeds
/// again. `probes` chains in all, most of them rebuilt from the first block that moved only. Deterministic in `seed`.
[[nodiscard]] OrderedChain search_orders(const ChainBuilder& builder, OrderOptions options);

}  // namespace motley::parametric

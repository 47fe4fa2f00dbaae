#pragma once

#include <span>
#include <vector>

#include "motley/schedule/schedule.h"
#include "motley/schedule/simulate.h"

namespace motley {

/// How list_schedule() weighs one pass against another. Entries are per stage; depths of at least 1.
struct ListOptions {
  std::vector<int> depth;      ///< most micro-batches between F and the start of I (or B): 1F1B's warm-up depth
  std::vector<int> in_flight;  ///< most micro-batches between F and the end of W (or B): memory; at least `depth`'s
  /// A weight gradient is put off when a forward or an input gradient would be ready within this share of its time.
  double patience = 0.0;
  /// Where both are ready: the input gradient (ranks below wait for it), or in turn with forwards, as 1F1B does.
  bool alternate = false;
  bool fused = false;  ///< B instead of I and W
};

/// A compute schedule made for these costs, by list scheduling (Graham, 1969): time goes forward, and a rank that is
/// free takes the input gradient that is ready, else a forward, else a weight gradient, of the highest stage where
/// several are ready. Passes of a stage run in micro-batch order. Stage s is on rank
/// `ranks[s]`, of `rank_count`; ranks may have several stages. Transfers take `costs.transfer`, one after the other on
/// a channel; receives are taken to be posted. O(actions * (ranks + stages)). Throws InputError for counts below 1 and
/// for options that do not fit.
[[nodiscard]] Schedule list_schedule(const PipelineCosts& costs, std::span<const int> ranks, int rank_count,
                                     int micro_batches, const ListOptions& options);

}  // namespace motley

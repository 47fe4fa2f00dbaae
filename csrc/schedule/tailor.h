#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "motley/schedule/schedule.h"
#include "motley/schedule/simulate.h"

namespace motley {

struct TailorOptions {
  int micro_batches = 1;
  std::vector<Bytes> memory;         ///< of each rank; empty: no limit
  bool clip = true;                  ///< the run clips by the model's norm (adds NORM)
  std::int64_t evaluations = 2'000;  ///< most schedules simulated
  std::uint64_t seed = 1;            ///< of the local search
};

struct Tailored {
  Schedule compute;
  Simulation simulation;  ///< of its lowered form with updates; no events
  bool fits = false;      ///< in memory; else `compute` is the one that lacks least
  std::int64_t evaluations = 0;
};

/// A compute schedule made for these costs and this placement: stage s on rank `ranks[s]` of `rank_count`. The
/// textbook's schedules where they apply and list schedules (list_schedule.h) of several depths, counts in flight and
/// preferences are simulated; the best that fits in memory is then improved by local search: neighbouring passes of a
/// rank change places, an input and a weight gradient that stand together become one backward pass, or come apart. So
/// it is never slower than 1F1B and zero-bubble where those fit. Passes of a stage stay in micro-batch order.
/// Deterministic. O(evaluations * actions).
[[nodiscard]] Tailored tailor_schedule(const PipelineCosts& costs, std::span<const int> ranks, int rank_count,
                                       const TailorOptions& options);

}  // namespace motley

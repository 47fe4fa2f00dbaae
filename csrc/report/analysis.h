#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "motley/report/run_data.h"

namespace motley {

/// Predicted beside measured; either may be unknown.
template <typename Value>
struct Pair {
  std::optional<Value> predicted;
  std::optional<Value> measured;
};

/// One rank that has a stage, in one iteration.
struct RankAnalysis {
  int rank = 0;
  std::string device;  ///< "rank2", from the profile where there is one
  std::vector<int> stages;
  Pair<Seconds> busy;
  std::optional<RankShare> measured;  ///< medians; what is neither busy nor waiting is the engine's own time
  Pair<Bytes> memory;                 ///< peak
  std::optional<Bytes> limit;
};

/// One pass of one stage over one micro-batch, or its update.
struct PassAnalysis {
  int stage = 0;
  std::string pass;  ///< "forward", "backward", "input gradient", "weight gradient", "update"
  std::size_t count = 0;
  Pair<Seconds> time;  ///< measured: median over the traced step
};

/// What crosses between two neighbouring stages for one micro-batch, forward and backward.
struct EdgeAnalysis {
  int stage = 0;  ///< the lower one
  int from = 0;   ///< rank of the lower stage
  int to = 0;
  Pair<Seconds> time;
};

/// A directed link in one iteration.
struct LinkAnalysis {
  int from = 0;
  int to = 0;
  std::int64_t messages = 0;
  Bytes bytes;
  Pair<Seconds> time;  ///< predicted: by the profile's curve of this link
};

/// What a report says of a run.
struct Analysis {
  std::int64_t settled_steps =
      0;  ///< behind the medians: under the last plan, without the first two where there are more
  Pair<Seconds> iteration;
  Seconds quick_iteration;  ///< a tenth of the settled steps took less
  Seconds slow_iteration;   ///< a tenth took more
  std::optional<Seconds> traced_iteration;
  std::int64_t samples = 0;          ///< of an iteration
  std::optional<double> idle_share;  ///< 1 - busy / (iteration * ranks with a stage)
  std::vector<RankAnalysis> ranks;   ///< in the order of their first stages
  std::vector<PassAnalysis> passes;
  std::vector<EdgeAnalysis> edges;
  std::vector<LinkAnalysis> links;
  std::vector<TraceEvent> simulated;  ///< of one iteration from 0; empty without a profile
  std::vector<TraceEvent> measured;   ///< likewise; empty without a trace
  std::string note;                   ///< of the run, and why the plan cannot be simulated where that is so

  [[nodiscard]] double samples_per_s() const {
    return static_cast<double>(samples) / iteration.measured.value_or(Seconds{1.0}).value;
  }
};

/// O(events log events). Simulates the plan once where the run has its profile.
[[nodiscard]] Analysis analyse(const RunData& run);

/// predicted / measured - 1. Nothing where either is unknown or nothing was measured.
template <typename Value>
[[nodiscard]] std::optional<double> error_of(const Pair<Value>& pair) {
  if (!pair.predicted || !pair.measured || static_cast<double>(pair.measured->value) == 0.0) {
    return std::nullopt;
  }
  return static_cast<double>(pair.predicted->value) / static_cast<double>(pair.measured->value) - 1.0;
}

}  // namespace motley

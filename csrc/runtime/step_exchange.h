#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/runtime/timeline.h"
#include "motley/stage/stage.h"
#include "motley/workloads/workload.h"

namespace motley {

/// What ranks agree on beside the numbers of a step.
struct StepSignals {
  std::int64_t durable = -1;  ///< last step of which a rank's checkpoint files are on the disk; agreed: of all ranks
  bool stop = false;          ///< the run shall end after this step; agreed: some rank says so
};

/// What every rank knows of a step once all gradients are summed.
struct StepTotals {
  double loss = 0.0;             ///< summed over the batch
  double squared_norm = 0.0;     ///< of the whole model's gradient, before clipping
  std::vector<RankTimes> ranks;  ///< of the step before this one; empty at the first
  StepSignals signals;           ///< agreed
};

/// Once a step, all ranks tell each other the squared gradient norms of their layers and the loss.
class StepExchange {
 public:
  StepExchange(Communicator& communicator, const Workload& workload);

  /// Of a replicated stage of this rank: whether its gradients, which are the same on all replicas, count here. On one
  /// of them they must.
  void count(int stage, bool here);

  /// Collective; every layer is in a stage of exactly one rank, or counts on one of them. Sums are taken in the order
  /// of layers and micro-batches, so that they do not depend on the cut. Throws CommError, or Fault on every rank when
  /// a sum is not finite: it names step and layer.
  [[nodiscard]] StepTotals run(std::int64_t step, const std::map<int, Stage*>& stages,
                               const std::optional<RankTimes>& last_times, const StepSignals& signals,
                               Timeline& timeline);

 private:
  void expect_finite(std::int64_t step, double loss, double squared_norm) const;
  [[nodiscard]] double gathered(std::size_t rank, std::size_t column) const;
  [[nodiscard]] double sum_over_ranks(std::size_t column) const;

  Communicator& communicator_;
  const Workload& workload_;
  std::size_t layers_;
  std::set<int> elsewhere_;   // stages of this rank whose gradients count on another
  std::vector<double> mine_;  // squared norm of each layer (0 where it is elsewhere), loss, times of the step before
  std::vector<double> all_;   // of every rank
};

}  // namespace motley

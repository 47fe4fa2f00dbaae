#pragma once

#include <memory>
#include <vector>

#include "motley/base/units.h"
#include "motley/schedule/costs.h"
#include "motley/schedule/program.h"
#include "motley/schedule/schedule.h"

namespace motley {

struct Event {
  int rank = 0;  ///< of a transfer: the sender
  int to = -1;   ///< of a transfer: the receiver; -1 for compute, encoding (named by its SEND) and REDUCE_GRAD
  Action action;
  Seconds start;
  Seconds end;
};

struct Simulation {
  Seconds iteration;
  std::vector<Event> events;        ///< ordered by start; empty unless asked for
  std::vector<Seconds> busy;        ///< per rank: compute, codecs and updates
  std::vector<Seconds> stage_busy;  ///< per stage: likewise, without encoding, of the rank that has most
  double bubble_share = 0.0;        ///< 1 - sum(busy) / (iteration * ranks that have actions)
  std::vector<int> peak_in_flight;  ///< per rank: micro-batches between F and the end of B (or of W)
  std::vector<Bytes> peak_memory;   ///< per rank
  /// What the busiest rank (with its sums of gradients), channel or NIC needs of an iteration: all that one takes where
  /// iterations overlap, as in asynchronous training.
  Seconds bottleneck;
};

struct SimulateOptions {
  bool events = false;
};

/// Replays a lowered schedule. A transfer starts when its SEND and its RECV are both reached and its channel is free;
/// it takes `costs.transfer`, or longer where it shares a NIC (see nic_sharing.h). REDUCE_GRAD ends for all replicas of
/// a stage when the last has reached it, plus its `reduce`, and counts as waiting. NORM ends for all when the last rank
/// has reached its own, plus norm_exchange. O(actions log ranks). Throws InputError when the schedule cannot run (see
/// validate) or names a stage without costs.
[[nodiscard]] Simulation simulate(const Schedule& lowered, const PipelineCosts& costs,
                                  const SimulateOptions& options = {});

/// Replays programs one after the other in the same memory: only the result is allocated once it is as large as the
/// largest program. Not for two threads at a time.
class Simulator {
 public:
  Simulator();
  ~Simulator();
  Simulator(Simulator&&) noexcept;
  Simulator& operator=(Simulator&&) noexcept;

  /// As simulate().
  [[nodiscard]] Simulation run(const Program& program, const PipelineCosts& costs, const SimulateOptions& options = {});

 private:
  class Replay;
  std::unique_ptr<Replay> replay_;
};

}  // namespace motley

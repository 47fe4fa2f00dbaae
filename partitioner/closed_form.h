#pragma once

#include <vector>

namespace motley {

/// A pipeline in plain seconds, stage by stage; what the search evaluates before it asks the simulator.
struct FlatPipeline {
  int micro_batches = 0;
  bool gpipe = false;
  std::vector<double> forward;        ///< [stage]
  std::vector<double> backward;       ///< [stage]
  std::vector<double> update;         ///< [stage]
  std::vector<double> send_forward;   ///< [boundary]
  std::vector<double> send_backward;  ///< [boundary]
  std::vector<int> warm_up;           ///< [stage], ignored for gpipe
};

/// Longest path through the actions of one iteration: every stage runs its actions in order, a forward waits for its
/// message, messages of a channel go one after the other, and message k starts only when message k - 2 was consumed
/// (two receives are posted ahead, see schedule/lowering.h). Times per action of the engine are left out, so the result
/// never exceeds the simulator's iteration time. O(stages * micro_batches) and no allocation after the first call.
class LongestPath {
 public:
  [[nodiscard]] double iteration(const FlatPipeline& pipeline, bool clip, double norm_exchange);

 private:
  struct Stage {
    int next = 0;       // actions done
    int forwards = 0;   // forwards done
    int backwards = 0;  // backwards done
    double now = 0.0;
    double forward_arrival = 0.0;   // end of the last message from the stage before
    double backward_arrival = 0.0;  // end of the last message from the stage after
  };
  std::vector<Stage> stages_;
  std::vector<double> forward_end_, backward_end_;  // [stage][micro-batch]
};

}  // namespace motley

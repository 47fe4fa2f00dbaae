#pragma once

#include <vector>

namespace motley {

/// A pipeline under 1F1B or GPipe in plain seconds; what the search evaluates before it asks the simulator. Seats are
/// devices with their share of a stage, those of a stage side by side, stages in order. Lanes are pairs of seats of
/// neighbouring stages that exchange messages, by sending seat.
struct FlatPipeline {
  struct Seat {
    double forward = 0.0;         ///< decoding and the engine's time included
    double backward = 0.0;        ///< likewise
    double recompute = 0.0;       ///< before a backward, while its message may still be under way
    double after_forward = 0.0;   ///< encoding of its messages
    double after_backward = 0.0;  ///< likewise
    double update = 0.0;
    double reduce = 0.0;  ///< of its stage
    int stage = 0;
    int warm_up = 1;  ///< ignored for gpipe
  };
  struct Lane {
    int from = 0;                  ///< seat of the stage before
    int to = 0;                    ///< seat of the stage after
    double forward = 0.0;          ///< transfer
    double backward = 0.0;         ///< transfer back
    double forward_offset = 0.0;   ///< from the end of `from`'s forward until it is encoded
    double backward_offset = 0.0;  ///< from the end of `to`'s backward until it is encoded
  };
  int micro_batches = 0;
  bool gpipe = false;
  std::vector<Seat> seats;
  std::vector<Lane> lanes;
};

/// Longest path through the actions of one iteration: every seat runs its actions in order, a pass waits for all of its
/// messages, messages of a channel go one after the other, and message k starts only when message k - 2 was consumed
/// (two receives are posted ahead, see schedule/lowering.h). The simulator's iteration time, up to rounding, where no
/// NIC is shared, and never more. O((seats + lanes) * micro_batches) and no allocation after the first call.
class LongestPath {
 public:
  [[nodiscard]] double iteration(const FlatPipeline& pipeline, bool clip, double norm_exchange);

 private:
  struct Seat {
    int next = 0;       // actions done
    int forwards = 0;   // forwards done
    int backwards = 0;  // backwards done
    double now = 0.0;
    std::vector<int> below;  // lanes from the stage before
    std::vector<int> above;  // lanes to the stage after
  };
  struct Lane {
    double forward_arrival = 0.0;   // end of the last message
    double backward_arrival = 0.0;  // of the last message back
  };

  void prepare(const FlatPipeline& pipeline);
  bool advance(const FlatPipeline& pipeline, std::size_t seat);
  [[nodiscard]] double* forward_end(std::size_t seat) { return forward_end_.data() + seat * micro_batches_; }
  [[nodiscard]] double* backward_end(std::size_t seat) { return backward_end_.data() + seat * micro_batches_; }

  std::size_t micro_batches_ = 0;
  std::vector<Seat> seats_;
  std::vector<Lane> lanes_;
  std::vector<double> forward_end_, backward_end_;  // [seat][micro-batch]
};

}  // namespace motley

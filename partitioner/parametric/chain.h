#pragma once

#include <span>
#include <vector>

#include "motley/partitioner/parametric/instance.h"

namespace motley::parametric {

/// A stage of a chain under construction.
struct ChainStage {
  int device = 0;
  int first = 0;
  int end = 0;
  int depth = 1;  ///< warm-up
};

/// What a greedy probe holds itself to.
struct ChainLimits {
  double period = 0.0;        ///< seconds a micro-batch
  double depth_price = 0.0;   ///< how many layers a step of depth must bring at the end of the pipeline
  double depth_scale = 1.0;   ///< the depth at which a step costs nothing any more
  double memory_share = 1.0;  ///< of a device's memory that stages may use
  bool sure_to_fit = true;    ///< memory as Instance::most_memory; else as the least that a stage needs
};

/// Builds a 1F1B pipeline from its last stage to its first, giving each device in turn the layers that are worth most.
///
/// With W, F, w, f, b as in prices.h and period tau, a stage is taken if the pipeline from it to the end runs at tau:
///
// clang-format off
///   (m - 1) W - (w - 1) F <= (m - 1) tau          what the forwards ahead of the first backward hide counts less
///   W(s..t) + (f + b)(s..t-1) <= tau (w_s - w_t + 1)   for every t after s: a micro-batch's round trip from s through t
///                                                 takes at most as many periods as there are forwards ahead
///   f, b <= tau
// clang-format on
///
/// and its memory holds at the least such w. The second line is one running maximum, so a step is O(log layers). The
/// iteration then takes about (round trip of a micro-batch) + (m - 1) tau; the exact time is replayed (replay.h).
class ChainBuilder {
 public:
  /// All that the next step needs to know.
  struct State {
    int layer = 0;    ///< stages cover [layer, L)
    int depth = 0;    ///< of the first stage
    int device = -1;  ///< of the first stage
    int stages = 0;
    double forward = 0.0;        ///< seconds of the first stage's pass
    double round_trip = 0.0;     ///< seconds of one micro-batch through them, both ways
    double lag = 0.0;            ///< max over t of (w_t - 1) tau - (round trip after t)
    double lag_stretched = 0.0;  ///< likewise for a period that is a little longer
  };

  /// `instance` must outlive it; `values` are prefix sums of what layers are worth, a typical layer 1.
  ChainBuilder(const Instance& instance, std::vector<double> values, int most_stages)
      : instance_(instance), values_(std::move(values)), most_stages_(most_stages) {}

  [[nodiscard]] State start() const { return State{instance_.layers, 0, -1, 0, 0.0, 0.0, -1e300, -1e300}; }
  /// Offers `devices` in order; appends to `stages` if there.
  void extend(State& state, const ChainLimits& limits, std::span<const int> devices,
              std::vector<ChainStage>* stages = nullptr) const;
  /// What layers [0, layer) are worth.
  [[nodiscard]] double left(const State& state) const { return values_[state.layer]; }
  [[nodiscard]] const Instance& instance() const { return instance_; }

 private:
  /// Whether the pipeline from a stage of `work` and `depth` on keeps the period, `behind` after it.
  [[nodiscard]] bool keeps_up(const State& state, const ChainLimits& limits, double behind, double work,
                              int depth) const;
  /// `send` is the time of a message to the stage after it.
  [[nodiscard]] bool fits(const State& state, const ChainLimits& limits, int device, double send, int first,
                          double depth) const;
  bool take(State& state, const ChainLimits& limits, int device, ChainStage& stage) const;

  const Instance& instance_;
  std::vector<double> values_;
  int most_stages_;
};

}  // namespace motley::parametric

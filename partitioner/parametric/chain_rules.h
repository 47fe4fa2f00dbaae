#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "motley/partitioner/parametric/chain_graph.h"

namespace motley::parametric {

/// A chain at some prices of groups, from the first stage to the last.
struct Chain {
  double cost = 0.0;         ///< prices, and seconds where they count
  double round_trip = 0.0;   ///< A
  std::vector<double> uses;  ///< [group]
  std::vector<ChainGraph::Stage> stages;
};

/// What longer round trips ask of a chain, for a dynamic programme from the last stage to the first.
///
/// With the letters of chain_bound.h and v = V_s, a round trip of C seconds from a stage s that advances n
/// micro-batches obeys
///
// clang-format off
///   C <= n (v + (X - P - (m - 1) v) / (m - w_s))                  since q n >= m - w_s
///   C <= n max(W_s, (X - Q - (w_s - 1) W_s) / (m - 2 w_s))        since q'n + r = m - 1 - w_s and r < n <= w_s
// clang-format on
///
/// where P, at least R, bounds A and Q the sum A + A_s for all plans with this stage of this depth. With prices lambda
/// of groups, those of a chain's stages before it and of those from it on bound both, the seconds of the latter counted
/// once or twice:
///
///   P = max(R, before(lambda) + from(lambda) - sum of lambda * devices)
///   Q = max(P + least A_s, before(c lambda) + from of twice the seconds(c lambda) - c sum of lambda * devices).
class ChainRules {
 public:
  /// A round trip C - n tau as a line over periods tau, by its value at least_period().
  struct Line {
    double value = 0.0;
    std::int32_t n = 1;
  };

  /// `graph` must outlive it.
  explicit ChainRules(const ChainGraph& graph) : graph_(graph), m_(graph.instance().micro_batches) {}

  /// For the chains that `graph` lists now. A few passes over its ways.
  void prepare(const ChainGraph::Case& plans);

  /// Whether a plan may have the stage with the depth of the row.
  [[nodiscard]] bool allow(std::size_t row) const { return stages_[row].allowed; }
  /// A stage's own round trip.
  [[nodiscard]] Line own(double work) const { return {work - least_period_, 1}; }
  /// `trip`, the worst round trip from the next stage on, becomes that from the stage of `row` on; false: it is too
  /// long. Where it is the stage's own, n is 1.
  [[nodiscard]] bool extend(const ChainGraph::Start& start, std::size_t row, const ChainGraph::Way& way,
                            Line& trip) const {
    const double period = stages_[row].period;
    trip.value += start.work + way.messages - way.fall * least_period_;
    trip.n += way.fall;
    if (at(trip, period) > kRounding * period) return false;
    const Line alone = own(start.work);
    if (at(alone, period) > at(trip, period)) trip = alone;
    return true;
  }
  /// Whether the line is nowhere below the other.
  [[nodiscard]] bool is_no_lower(const Line& line, const Line& than) const {
    return than.value <= line.value && at(than, most_period_) <= at(line, most_period_);
  }
  /// A line below both for every period that matters.
  [[nodiscard]] static Line below(const Line& a, const Line& b) {
    return {std::min(a.value, b.value), std::max(a.n, b.n)};
  }
  /// Whether the graph lists the chain and it obeys the rules.
  [[nodiscard]] bool obeys(const Chain& chain) const;
  /// All periods that the rules compare with are from here on.
  [[nodiscard]] double least_period() const { return least_period_; }
  /// Additions that prepare() took.
  [[nodiscard]] std::int64_t steps() const { return steps_; }

 private:
  /// What a stage of some depth asks of its round trips.
  struct Stage {
    bool allowed = false;
    double period = 0.0;  // C <= n period
  };
  static constexpr double kRounding = 1e-9;

  [[nodiscard]] double at(const Line& line, double period) const {
    return line.value - line.n * (period - least_period_);
  }

  const ChainGraph& graph_;
  double m_;
  double least_period_ = 0.0;
  double most_period_ = 0.0;
  std::vector<Stage> stages_;  // [row]
  std::int64_t steps_ = 0;
};

}  // namespace motley::parametric

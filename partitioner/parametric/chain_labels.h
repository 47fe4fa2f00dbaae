#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "motley/partitioner/parametric/chain_graph.h"
#include "motley/partitioner/parametric/chain_rules.h"

namespace motley::parametric {

/// Finds cheap chains by label setting (after Desrochers and Soumis, 1988): next to its cost every chain carries the
/// one of its round trips from the first stage on that is the worst (chain_rules.h), since rules for a stage and any
/// other behind it are no sum over neighbours. O(ways * depths) time.
///
/// The cheapest chain of all (kWithinGroups false): a label is worse than another of the same stage and depth if it
/// costs no less and its worst round trip is nowhere lower. Where there are more than kMostLabels two become one with
/// the lower cost and a line below both; the chain may then break a rule, and its cost is a lower bound still.
///
/// A cheap chain that uses no group more often than it has devices (true): keeps the kMostLabels cheapest labels of
/// each stage and depth that do not (beam search). Finding none proves nothing.
template <bool kWithinGroups>
class ChainLabels {
 public:
  /// Both must outlive it and be prepared for the same plans.
  ChainLabels(const ChainGraph& graph, const ChainRules& rules) : graph_(graph), rules_(rules) {}

  /// One that costs less than `below`: sum of prices, and seconds if `with_seconds`. Nothing: it met none, or there are
  /// more groups than it counts.
  [[nodiscard]] std::optional<Chain> cheapest(const std::vector<double>& prices, bool with_seconds, double below);

  /// Additions since the last call, about.
  [[nodiscard]] std::int64_t take_steps() { return std::exchange(steps_, 0); }

 private:
  using Line = ChainRules::Line;
  /// How many devices of each group, a few bits each.
  using Uses = std::array<std::uint64_t, kWithinGroups ? 2 : 0>;

  static constexpr int kMostLabels = kWithinGroups ? 4 : 8;
  struct Label {
    double cost = 0.0;
    Line trip;
    std::uint32_t behind = 0;  // in labels_, of the next stage
    std::uint32_t way = 0;
    [[no_unique_address]] Uses uses = {};
  };
  /// Of one row, by rising cost.
  struct Cell {
    int count = 0;
    std::array<Label, kMostLabels> labels;

    void add(const Label& label);
    void remove(int place);
  };
  struct Labels {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  /// Where a group's devices are counted in Uses.
  struct Counter {
    int word = 0;
    int shift = 0;
    std::uint64_t mask = 0;
  };

  [[nodiscard]] bool list_counters();
  /// One device more; false: there is none.
  [[nodiscard]] bool count(int group, Uses& uses) const;
  void clear_cells(const ChainGraph::Start& start, const std::vector<double>& before, double below);
  void extend(const ChainGraph::Start& start, std::uint32_t way, double added);
  [[nodiscard]] bool is_no_better(const Label& label, const Label& than) const {
    return than.cost <= label.cost && rules_.is_no_lower(label.trip, than.trip);
  }
  /// Into the cell of `depth - least`.
  void insert(std::size_t cell, const Label& label);
  void keep(const ChainGraph::Start& start);
  [[nodiscard]] Chain follow(const ChainGraph::Start& start, int depth) const;

  const ChainGraph& graph_;
  const ChainRules& rules_;
  double scale_ = 1.0;          // of costs
  std::vector<double> least_;   // [row], cost of the cheapest label
  std::vector<Labels> of_row_;  // [row]
  std::vector<Label> labels_;
  std::vector<Cell> cells_;        // [depth - least], of the start at work
  std::vector<double> limits_;     // likewise: no label that costs so much is of use
  std::vector<Counter> counters_;  // [group]
  std::int64_t steps_ = 0;
};

}  // namespace motley::parametric

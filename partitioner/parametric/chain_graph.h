#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "motley/partitioner/parametric/instance.h"

namespace motley::parametric {

/// All chains that plans of one micro-batch size below a time are among: stages that cover the layers one after the
/// other, each on a group of devices that are alike (host, type and memory), with a warm-up. Groups may be used more
/// often than they have devices. chain_bound.h says which rules a chain obeys; those of a stage and of two neighbours
/// are here, those of longer round trips in chain_rules.h.
///
/// A start is a stage with a range of depths; a place in a table ("row") belongs to each start and depth. A way leads
/// from a start to a next one, from so many depths each to the one that the warm-ups' difference says.
class ChainGraph {
 public:
  struct Group {
    int type = 0;
    double memory = 0.0;
    std::vector<int> devices;
  };
  /// Devices of a group are as good as one another.
  struct Stage {
    int group = 0;
    int first = 0;
    int end = 0;
    int depth = 1;
  };
  /// A stage of the group starts with the layer.
  struct Begin {
    int layer = 0;
    int group = 0;
  };
  /// Which plans are looked at.
  struct Case {
    double within = 0.0;          // X, see chain_bound.h
    double round_trip = 0.0;      // R
    std::vector<double> prices;   // [group], which proved R; empty: none did
    std::vector<Begin> decided;   // stages that must be
    std::vector<Begin> excluded;  // stages that must not be
  };
  /// A stage with depths [least, most] and the rows of these.
  struct Start {
    Stage stage;  // without depth
    double work = 0.0;
    double forward = 0.0;
    double late = 0.0;  // how much longer its update takes than every plan's longest
    int least = 0;
    int most = 0;
    std::size_t row = 0;  // of depth `least`
    std::size_t first_way = 0, end_way = 0;

    [[nodiscard]] std::size_t row_of(int depth) const { return row + static_cast<std::size_t>(depth - least); }
    [[nodiscard]] std::size_t end_row() const { return row_of(most + 1); }
  };
  /// From `count` depths of a start, the least of them `least`, to rows of a next one. 16 bytes: there are millions.
  struct Way {
    std::uint32_t behind = 0;  // row of the next one where the start has its least depth; those after it follow
    std::uint16_t least = 0;   // depth
    std::uint16_t count : 14 = 0;
    std::uint16_t fall : 2 = 0;  // of the warm-up
    double messages = 0.0;       // seconds of the boundary's two
  };

  /// `instance` must outlive it. `update`: seconds of the longest update that every plan has after its last backward,
  /// as X counts them; infinite if updates need not wait for that.
  ChainGraph(const Instance& instance, double update, int most_stages);

  /// Whether warm-ups stay below the number of micro-batches (and below 2^14).
  [[nodiscard]] static bool knows(const Instance& instance, int most_stages);

  /// Lists the chains. False, and no chains, where `is_spent` after some stage or they need more than kMostNumbers.
  [[nodiscard]] bool list(const Case& plans, const std::function<bool()>& is_spent);

  /// Seconds and prices of the cheapest chain, by row. Of the stages from that of the row on, where `scale` counts
  /// seconds, and of those before it, with the message between. O(ways * depths), a vector operation each way.
  [[nodiscard]] std::vector<double> costs_from(const std::vector<double>& prices, double scale) const;
  [[nodiscard]] std::vector<double> costs_before(const std::vector<double>& prices, double scale) const;

  [[nodiscard]] const std::vector<Group>& groups() const { return groups_; }
  [[nodiscard]] const std::vector<double>& capacities() const { return capacities_; }
  /// Of all devices at prices of groups.
  [[nodiscard]] double total(const std::vector<double>& prices) const;
  /// By falling first layer: a way leads to an earlier one.
  [[nodiscard]] const std::vector<Start>& starts() const { return starts_; }
  [[nodiscard]] std::span<const Start> starts_at(int layer) const;
  [[nodiscard]] std::span<const Way> ways_of(const Start& start) const;
  [[nodiscard]] const Way& way(std::size_t index) const { return ways_[index]; }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  /// The start that a row belongs to. O(log starts).
  [[nodiscard]] const Start& start_at(std::size_t row) const;
  /// What listing them and one of the costs take, in steps of one addition.
  [[nodiscard]] std::int64_t steps_of_list() const { return steps_of_list_; }
  [[nodiscard]] std::int64_t steps_of_costs() const { return steps_of_costs_; }
  [[nodiscard]] const Instance& instance() const { return instance_; }

 private:
  struct Messages {
    double forward = 0.0;
    double backward = 0.0;
  };

  [[nodiscard]] const Messages& messages(int cut, int from, int to) const;
  /// Its depths may be none.
  [[nodiscard]] Start start_of(const Case& plans, int group, int first, int end) const;
  /// The least depth of `of` that its neighbour `next` allows when it is `fall` deeper; beyond every depth: none, as
  /// where `between` takes too long.
  [[nodiscard]] int least_depth(const Case& plans, const Start& of, const Start& next, const Messages& between,
                                int fall) const;
  void add(const Case& plans, Start start);

  const Instance& instance_;
  double update_;
  double m_;
  int most_depth_;
  std::vector<Group> groups_;
  std::vector<double> capacities_;
  std::vector<std::size_t> links_of_cut_;  // [cut], where in links_
  std::vector<Messages> links_;            // [amounts][from][to], the fastest between two groups
  std::vector<int> decided_;               // [layer], the group of the stage that must start there; -1: none must
  std::vector<char> excluded_;             // [layer][group]
  std::vector<Start> starts_;
  std::vector<std::size_t> starts_of_;  // [layer + 1], where in starts_ those before the layer begin
  std::vector<Way> ways_;
  std::size_t rows_ = 0;
  std::int64_t steps_of_list_ = 0;
  std::int64_t steps_of_costs_ = 0;
};

}  // namespace motley::parametric

#pragma once

#include <optional>
#include <vector>

#include "motley/partitioner/parametric/instance.h"
#include "motley/plan/plan.h"

namespace motley::parametric {

/// A lower bound for every plan of one micro-batch size with two stages or more, proven by prices.
///
/// Take a plan that takes less than T. Write W, F for a stage's work and forward of one micro-batch, w = min(m,
/// warm-up) for what it has in flight, m for micro-batches, U for what follows the last backward, and A for the round
/// trip of one micro-batch: the work of all stages and both messages of all boundaries. Then for every stage
///
// clang-format off
///   m W                           <= T - U     its own work
///   A + (m - 1) W - (w - 1) F     <= T - U     first round trip, and all backwards but the forwards done by then
///   m f                           <= T - U     the slower message of a boundary
// clang-format on
///
/// and memory lets a stage have at most J in flight, where w is at least p - s: of the stages with J <= x there are at
/// most x. Stages are worth their layers (`layer_values`, G in all). With a price P(j) >= 0 on every place j = p - s,
/// a stage with J pays the least P(j) of j <= J, and no choice of stages for the devices, whatever their layers, order
/// and links, is worth more than
///
///   D = sum over devices of max(0, max over stages it can hold of (value - price)) + sum over j of P(j).
///
/// Round by round: with value = theta * layers - (W + links), theta G - D <= A, which excludes more stages from the
/// next round; at last value = layers and D < G: there is no such plan. Prices come from an assignment of devices to
/// places (assignment.h). Links cost at least the device's cheapest inside its host, and once a host the cheapest out
/// of it. Devices between which no link is fast enough are apart: each such part is priced by itself.
///
/// Layers are worth one each where they are alike, else their share of the work: kLikeLayers.
class PriceBound {
 public:
  /// `instance` must outlive it. `after` is U; `most_stages` of the space; `any_depth`: warm-up may be that of GPipe.
  PriceBound(const Instance& instance, double after, int most_stages, bool any_depth);

  struct Proven {
    double time = 0.0;  ///< 0: nothing
    BoundProof proof;
  };
  /// The greatest time up to `most` that it can refute, to within `tolerance` of `most`. O(log(1 / tolerance))
  /// assignments.
  [[nodiscard]] Proven bound(double most, double tolerance);

  /// After bound(): a round trip of a micro-batch takes at least so many seconds.
  [[nodiscard]] double round_trip() const { return round_trip_; }
  /// Of what layers are worth; prefix sums.
  [[nodiscard]] const std::vector<double>& values() const { return values_; }

  /// After bound(): how deep the devices of a block may be in the mean with what the assignment for `time` gives them;
  /// those it leaves out or that may be anywhere are deepest. An order of blocks from the end of the pipeline to start
  /// from: as with deadlines, if any order serves then that of the deepest places does. Warm-ups are taken to be
  /// `stretch` times the places, as messages and unlike stages make them.
  [[nodiscard]] std::vector<double> depths_of_blocks(double time, double stretch) const;

 private:
  /// Stages of a type that are worth about the same.
  struct Item {
    double value = 0.0;
    double work = 0.0;  // least
    double most_work = 0.0;
    double forward = 0.0;  // most
    double fixed = 0.0;    // least bytes whatever the depth
    double posted = 0.0;   // most of these that a pipeline with every micro-batch in flight does not have
    double saved = 0.0;    // least bytes a micro-batch in flight
  };
  /// Devices that are alike for the bound.
  struct Group {
    int type = 0;
    int host = 0;
    double memory = 0.0;
    int count = 0;
  };
  struct Part {
    std::vector<Group> groups;
    std::vector<double> link;  // [group], seconds a stage
    double slack = 0.0;        // the last stage has no link
  };
  /// Which plans a table is for, and what it prices.
  struct Case {
    double time = 0.0;
    double round_trip = 0.0;  // at least
    double above = 0.0;       // the longest stage takes more than this,
    double up_to = 0.0;       // and at most this
    double theta = 1.0;
    bool less_work = false;  // values stages by theta * layers - seconds
    double second_price = 0.0;
    double stretch = 1.0;  // of warm-up against places; other than 1 it bounds nothing
    double reserve = 0.0;  // bytes that stages leave of every device; likewise
  };
  struct Worths {
    std::vector<double> anywhere;  // [group], of its best stage that no depth excludes
    std::vector<double> at;        // [group][place], how much more its best stage at a depth is worth
    int longest_depth = 0;         // second_price is for stages of less depth,
    double seconds = 0.0;          // which may take so many seconds
  };
  struct Priced {
    double worth = 0.0;         // D
    double slope_layers = 0.0;  // of D in theta
    double slope_second = 0.0;  // of D in second_price
    BoundProof::Table table;
    std::vector<int> group_of_place;
  };

  void value_layers();
  void join_devices();
  void list_items(double most_work);
  [[nodiscard]] double total_value() const { return values_.back(); }
  [[nodiscard]] int places(const Part& part) const;
  [[nodiscard]] std::vector<Part> parts(double longest_message) const;
  [[nodiscard]] bool can_hold(const Part& part, double time) const;
  [[nodiscard]] double deepest(const Group& group, const Item& item, double reserve = 0.0) const;
  [[nodiscard]] double least_depth(const Item& item, const Case& of) const;
  [[nodiscard]] double value(const Part& part, std::size_t group, const Item& item, const Case& of) const;
  [[nodiscard]] Worths worths(const Part& part, const Case& of) const;
  void add_slopes(const Part& part, const Case& of, const Worths& worths, Priced& priced) const;
  [[nodiscard]] Priced price(const Part& part, const Case& of) const;
  [[nodiscard]] std::vector<Case> cases(const Part& part, double time) const;
  [[nodiscard]] std::optional<BoundProof::Table> refute(const Part& part, Case of) const;
  [[nodiscard]] std::pair<double, BoundProof::Table> least_round_trip(const Part& part, double time) const;
  void narrow(double most, double tolerance, Proven& proven);
  [[nodiscard]] BoundProof round_trips(double time);
  [[nodiscard]] std::optional<BoundProof::Round> refute(double time) const;

  const Instance& instance_;
  double after_;
  int most_stages_;
  bool any_depth_;
  double step_ = 1.0;  // of values; 0: a share of the greatest
  double round_trip_ = 0.0;
  std::vector<double> layer_values_;
  std::vector<double> values_;            // [layer + 1], prefix sums
  std::vector<std::vector<Item>> items_;  // [type], by rising value
  struct Join {
    double message;
    int a, b;
  };
  std::vector<Join> joins_;      // links of a tree over all devices, the fastest that join them
  std::vector<double> inside_;   // [host], least seconds of both messages of a boundary inside it
  std::vector<double> between_;  // [upstream host, downstream host], likewise
};

}  // namespace motley::parametric

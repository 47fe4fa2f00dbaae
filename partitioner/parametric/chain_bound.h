#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "motley/partitioner/parametric/chain.h"
#include "motley/partitioner/parametric/instance.h"
#include "motley/plan/certificate.h"

namespace motley::parametric {

/// A lower bound for every plan of one micro-batch size with two stages or more, from chains: stages that cover the
/// layers one after the other, each on a group of devices that are alike (host, type and memory), with a warm-up. A
/// plan is a chain that uses no group more often than it has devices.
///
/// Take a plan that takes less than T. With X = T - U and the letters of prices.h, and A at least R, write V = W - F
/// for a stage's backward, n = w_s - w_t + 1 for a stage s and the next one t, and C = W_s + W_t + f + b. For every
/// stage, and for every stage but the last
///
// clang-format off
///   m W                                <= X           its own work
///   R + (m - 1) W - (w - 1) F          <= X           first round trip, then all backwards but the forwards done by then
///   m f, m b                           <= X           a boundary's messages
///   R + q C + (m - 1 - q n) V_s        <= X           first round trip; q times the way from a backward k of s by forward
///                                                     k + w_s of s and of t to backward k + n of t and of s; the rest
///   w_s = w_t + 1, + 2 or + 3, w of the last stage 1  the space's warm-ups
// clang-format on
///
/// with q = floor((m - 1 - w_s) / n) + 1, the number of such ways. Memory holds w as in prices.h. The ways are why a
/// link that is slow beside the stages needs a deeper warm-up before it, which costs memory; prices.h does not know
/// them. The cheapest chain at prices lambda >= 0 of the groups' devices is found by a dynamic programme from the last
/// layer to the first over (stage, w), exact in cuts, places and neighbours. With A as the cost,
///
///   A >= min over chains (A + sum(lambda)) - sum over groups of lambda * devices,
///
/// a greater R for the next round; with no cost at all, a minimum above 0 says that there is no such plan. Prices come
/// from the mixture of chains that keeps within the groups (mixture.h). Where the mixture is of chains of which some
/// have a stage of a group from a layer on and some have not, the plans are parted into these two kinds (branch and
/// price, after Barnhart et al., 1998), and both are to be refuted.
///
/// For plans whose warm-ups all stay below m. One thread; O(layers * (groups * lengths of a stage)^2 * depths) for each
/// chain, a few hundred of them in all; less than 1 GB, beyond which the bound is not raised.
class ChainBound {
 public:
  /// From the last stage to the first, as search_orders() has them.
  using Visit = std::function<void(std::span<const ChainStage>)>;

  /// `instance` must outlive it. `after` is U. `is_over`, asked now and then: whether to end, as if the budget did.
  ChainBound(const Instance& instance, double after, int most_stages, std::function<bool()> is_over = {});

  /// Whether warm-ups stay below the number of micro-batches (and below 2^16).
  [[nodiscard]] static bool knows(const Instance& instance, int most_stages);

  struct Proven {
    double time = 0.0;
    std::optional<BoundProof::Chains> proof;  ///< none: `low` could not be raised
  };
  /// The greatest time between `low`, a bound already, and `most` that it can refute, to within `tolerance` of `most`.
  /// Ends after about `budget` steps of the dynamic programme. `visit` is shown chains that no group is too small for:
  /// they may be good plans.
  [[nodiscard]] Proven bound(double low, double most, double tolerance, std::int64_t budget, const Visit& visit);

  [[nodiscard]] std::int64_t chains() const { return chains_; }
  [[nodiscard]] std::int64_t steps() const { return steps_; }

 private:
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
  struct Messages {
    double forward = 0.0;
    double backward = 0.0;
  };
  /// A stage with depths [least, most], and where in costs_ those of the chains from it to the end are.
  struct Start {
    Stage stage;  // without depth
    double work = 0.0;
    double forward = 0.0;
    int least = 0;
    int most = 0;
    std::size_t row = 0;  // of depth `least`
    std::size_t first_way = 0, end_way = 0;
  };
  /// From a stage of depths [least, most] to a next one. 16 bytes: there are millions.
  struct Way {
    std::uint32_t behind = 0;  // in costs_, of the next one's chain where the stage's depth is `least`; those after it
                               // are of the depths after that
    std::uint16_t least = 0;
    std::uint16_t most = 0;
    double messages = 0.0;
  };
  struct Chain {
    double worth = 0.0;  // of the chain at the prices, less that of all devices
    double round_trip = 0.0;
    std::vector<double> uses;
    std::vector<Stage> stages;
  };
  /// A stage of the group starts with the layer.
  struct Begin {
    int layer = 0;
    int group = 0;
  };
  /// What plans are looked for.
  struct Case {
    double within = 0.0;      // X
    double round_trip = 0.0;  // R
  };

  [[nodiscard]] const Messages& messages(int cut, int from, int to) const;
  /// Without costs; its depths may be none.
  [[nodiscard]] Start start_of(const Case& plans, int group, int first, int end) const;
  [[nodiscard]] bool is_among(const Case& plans, const Chain& chain) const;
  /// The least depth of `of` that its neighbour `next` allows, `extra` more than textbook; beyond every depth: none, as
  /// where `between` takes too long.
  [[nodiscard]] int least_depth(const Case& plans, const Start& of, const Start& next, const Messages& between,
                                int extra) const;
  /// Lists the stages of all chains and the ways between them. False: the budget ended.
  [[nodiscard]] bool list_chains(const Case& plans);
  void add_start(const Case& plans, Start start);
  /// The cheapest of all chains at prices_; nothing: there is none.
  [[nodiscard]] std::optional<Chain> cheapest(bool with_cost);
  [[nodiscard]] Chain follow(bool with_cost, std::size_t start, int depth) const;
  /// The stage whose costs hold place `row` of costs_.
  [[nodiscard]] const Start& start_at(std::size_t row) const;
  [[nodiscard]] double added(bool with_cost, const Start& start, double messages) const;
  [[nodiscard]] bool is_spent() const { return steps_ >= budget_ || (is_over_ && is_over_()); }
  /// Raises plans.round_trip as far as it can; true: there are no such plans.
  [[nodiscard]] bool refute(Case& plans, const Visit& visit, BoundProof::Chains& proof);
  /// Parts the plans in two where that does not refute them, at most `parts` times.
  [[nodiscard]] bool refute_parts(Case& plans, const Visit& visit, int& parts, BoundProof::Chains& proof);
  /// Where the last mixture is most undecided; nothing: it is of one chain.
  [[nodiscard]] std::optional<Begin> most_undecided() const;
  /// One round: the least round trip, infinite when there are no such plans, and the prices that prove it.
  [[nodiscard]] std::pair<double, std::vector<double>> least_round_trip(const Case& plans, const Visit& visit);
  /// On devices of its groups; nothing: one of them has too few, or there are more stages than allowed.
  [[nodiscard]] std::vector<ChainStage> placed(const Chain& chain) const;
  [[nodiscard]] std::vector<double> by_device(const std::vector<double>& prices) const;

  const Instance& instance_;
  double after_;
  double m_;
  int most_stages_;
  std::function<bool()> is_over_;
  int most_depth_;
  std::vector<Group> groups_;
  std::vector<double> capacities_;
  std::vector<std::size_t> links_of_cut_;        // [cut], where in links_
  std::vector<Messages> links_;                  // [amounts][from][to], the fastest between two groups
  std::vector<double> prices_;                   // [group]
  std::vector<Chain> known_;                     // the last ones that were cheapest
  std::vector<std::pair<double, Chain>> mixed_;  // the last mixture
  std::vector<int> decided_;                     // [layer], the group of a stage that must start there; -1: none must
  std::vector<char> closed_;                     // [layer][group], no stage may start so
  std::vector<Start> starts_;                    // by falling first layer
  std::vector<std::size_t> starts_of_;           // [layer + 1], where in starts_ those before the layer begin
  std::vector<Way> ways_;
  std::vector<double> costs_;  // prices, and seconds
  std::int64_t budget_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t chains_ = 0;
};

}  // namespace motley::parametric

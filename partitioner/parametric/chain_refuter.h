#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "motley/partitioner/parametric/chain.h"
#include "motley/partitioner/parametric/chain_graph.h"
#include "motley/partitioner/parametric/chain_labels.h"
#include "motley/partitioner/parametric/chain_rules.h"
#include "motley/plan/certificate.h"

namespace motley::parametric {

/// Refutes that there is a plan within some time by prices of chains (chain_bound.h); one thread's part of that. What
/// it does depends on what it was asked before, and on nothing else.
class ChainRefuter {
 public:
  ChainRefuter(const Instance& instance, double update, int most_stages);
  ChainRefuter(const ChainRefuter&) = delete;
  ChainRefuter& operator=(const ChainRefuter&) = delete;

  struct Outcome {
    bool refuted = false;
    ChainGraph::Case plans;    ///< as asked, with the best round trip that was proven, of all parts
    BoundProof::Chains proof;  ///< that they are none, or of that round trip
    std::vector<std::vector<ChainStage>>
        found;  ///< from the last stage to the first; they may be plans within the time
  };
  /// `proof` is that of plans.round_trip. Parts the plans at most `parts` times; ends after about `budget` steps, or
  /// when `is_over` says so.
  [[nodiscard]] Outcome refute(ChainGraph::Case plans, BoundProof::Chains proof, int parts, std::int64_t budget,
                               const std::function<bool()>& is_over);

  /// Chains that were the cheapest at some prices since the last call; and those of another one, to start from.
  [[nodiscard]] std::vector<Chain> take_new() { return std::exchange(new_, {}); }
  void learn(const std::vector<Chain>& chains);

  [[nodiscard]] std::int64_t chains() const { return chains_; }
  [[nodiscard]] std::int64_t steps() const { return steps_; }

 private:
  using Case = ChainGraph::Case;

  [[nodiscard]] bool is_spent() const { return steps_ >= budget_ || (is_over_ && is_over_()); }
  /// Lists the chains of these plans. False: the budget ended.
  [[nodiscard]] bool list_chains(const Case& plans);
  /// Raises plans.round_trip as far as it can; true: there are no such plans.
  [[nodiscard]] bool refute_whole(Case& plans, BoundProof::Chains& proof);
  /// Parts the plans in two where that does not refute them, at most `parts` times.
  [[nodiscard]] bool refute_parts(Case& plans, int& parts, BoundProof::Chains& proof);
  /// Where the last mixture is most undecided; nothing: it is of one chain.
  [[nodiscard]] std::optional<ChainGraph::Begin> most_undecided() const;
  /// One round: the least round trip, infinite when there are no such plans, and the prices that prove it.
  [[nodiscard]] std::pair<double, std::vector<double>> least_round_trip(const Case& plans);
  /// On devices of its groups, unless one of them has too few or there are more stages than allowed.
  void show(const Chain& chain);
  [[nodiscard]] std::vector<double> by_device(const std::vector<double>& prices) const;

  const Instance& instance_;
  int most_stages_;
  std::function<bool()> is_over_;
  ChainGraph graph_;
  ChainRules rules_;
  ChainLabels<false> labels_;
  ChainLabels<true> beam_;
  std::vector<Chain> known_;  // the last ones that were cheapest
  std::vector<Chain> new_;
  std::vector<std::pair<double, Chain>> mixed_;  // the last mixture
  std::vector<std::vector<ChainStage>> found_;
  std::int64_t budget_ = 0;
  std::int64_t steps_ = 0;
  std::int64_t chains_ = 0;
};

}  // namespace motley::parametric

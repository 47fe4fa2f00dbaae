#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "motley/partitioner/parametric/chain.h"
#include "motley/partitioner/parametric/chain_refuter.h"
#include "motley/plan/certificate.h"

namespace motley::parametric {

/// A lower bound for every plan of one micro-batch size with two stages or more, from chains: stages that cover the
/// layers one after the other, each on a group of devices that are alike (host, type and memory), with a warm-up. A
/// plan is a chain that uses no group more often than it has devices.
///
/// Take a plan that takes less than T. With X = T - U and the letters of prices.h, A_s the round trip of one
/// micro-batch from stage s to the last and A that from the first, at least R, write V = W - F for a stage's backward,
/// n = w_s - w_t + 1 for a stage s and one behind it or itself, t, and C for all work from s through t and the messages
/// between. For all of these, and for every boundary, where X is less by what an update of s takes longer than the one
/// in U if updates wait for all backwards,
///
// clang-format off
///   m W                                <= X           its own work
///   m f, m b                           <= X           a boundary's messages
///   A + q C + (m - 1 - q n) V_s        <= X           first round trip; q times the way from a backward k of s by its
///                                                     forward k + w_s through those of t to backward k + n of t and of
///                                                     s; the backwards left
///   A + q'C + r W_s + A_s              <= X           likewise while there are forwards: then the last one goes on to
///                                                     the last stage and comes back
///   w_s = w_t + 1, + 2 or + 3, w of the last stage 1  the space's warm-ups, t the next stage
// clang-format on
///
/// with q = floor((m - 1 - w_s) / n) + 1, q' = q - 1 and r = m - 1 - w_s - q'n. Memory holds w as in prices.h. The
/// ways are why a slow link needs a deeper warm-up before it, which costs memory, and why stages side by side that
/// have just time for their own work wait for their messages; prices.h knows neither. The cheapest chain at prices
/// lambda >= 0 of the groups' devices is found by a dynamic programme from the last layer to the first over
/// (stage, w), exact in cuts, places, neighbours and, by labels (chain_labels.h), longer round trips. With A as the
/// cost,
///
///   A >= min over chains (A + sum(lambda)) - sum over groups of lambda * devices,
///
/// a greater R for the next round; with no cost at all, a minimum above 0 says that there is no such plan. Prices come
/// from the mixture of chains that keeps within the groups (mixture.h). Where the mixture is of chains of which some
/// have a stage of a group from a layer on and some have not, the plans are parted into these two kinds (branch and
/// price, after Barnhart et al., 1998), and both are to be refuted.
///
/// For plans whose warm-ups all stay below m. Two threads, one a time; O(layers * (groups * lengths of a stage)^2 *
/// depths) for each chain, a few hundred of them in all; less than 1 GB, beyond which the bound is not raised.
class ChainBound {
 public:
  /// From the last stage to the first, as search_orders() has them; to return the least time of any plan so far.
  using Visit = std::function<double(std::span<const ChainStage>)>;

  /// `instance` must outlive it. `is_over`, asked now and then: whether to end, as if the budget did.
  ChainBound(const Instance& instance, AfterBackwards after, int most_stages, std::function<bool()> is_over = {});

  /// Whether warm-ups stay below the number of micro-batches (and below 2^14).
  [[nodiscard]] static bool knows(const Instance& instance, int most_stages) {
    return ChainGraph::knows(instance, most_stages);
  }

  struct Proven {
    double time = 0.0;
    std::optional<BoundProof::Chains> proof;  ///< none: `low` could not be raised
  };
  /// The greatest time between `low`, a bound already, and `most` that it can refute, to within `tolerance` of `most`.
  /// Ends after about `budget` steps of the dynamic programme. `visit` is shown chains that no group is too small for:
  /// they may be good plans.
  [[nodiscard]] Proven bound(double low, double most, double tolerance, std::int64_t budget, const Visit& visit);

  [[nodiscard]] std::int64_t chains() const;
  [[nodiscard]] std::int64_t steps() const;

 private:
  AfterBackwards after_;
  std::function<bool()> is_over_;
  double least_work_ = 0.0;  // of all layers: no round trip is shorter
  std::array<ChainRefuter, 2> refuters_;
};

}  // namespace motley::parametric

#include "motley/partitioner/parametric/chain_bound.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "motley/partitioner/parametric/share.h"

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;
constexpr double kFirstStep = 2e-4;  // down from a plan's time
constexpr int kMostParts = 60;       // of the plans below a time
// Where between bound and plan to try next.
constexpr std::array<double, 2> kThirds = {1.0 / 3.0, 2.0 / 3.0};
constexpr std::array<double, 2> kSharesInParts = {0.6, 0.85};

}  // namespace

ChainBound::ChainBound(const Instance& instance, AfterBackwards after, int most_stages, std::function<bool()> is_over)
    : after_(after),
      is_over_(std::move(is_over)),
      refuters_{{{instance, after.update, most_stages}, {instance, after.update, most_stages}}} {
  for (int l = 0; l < instance.layers; ++l) {
    double least = kInfinity;
    for (const std::vector<double>& work : instance.work) least = std::min(least, work[l + 1] - work[l]);
    least_work_ += least;
  }
}

std::int64_t ChainBound::chains() const {
  return refuters_[0].chains() + refuters_[1].chains();
}

std::int64_t ChainBound::steps() const {
  return refuters_[0].steps() + refuters_[1].steps();
}

ChainBound::Proven ChainBound::bound(double low, double most, double tolerance, std::int64_t budget,
                                     const Visit& visit) {
  std::array<std::int64_t, 2> ends{};
  for (std::size_t i = 0; i < 2; ++i) ends[i] = refuters_[i].steps() + budget / 2;
  const auto is_spent = [&] {
    return refuters_[0].steps() >= ends[0] || refuters_[1].steps() >= ends[1] || (is_over_ && is_over_());
  };
  double best = most;
  Proven proven{low, std::nullopt};
  // What is known of all plans that take less than some time: a round trip, and the prices that prove it.
  struct Known {
    ChainGraph::Case plans;
    BoundProof::Chains proof;
  };
  Known of_all;
  of_all.plans.within = kInfinity;
  of_all.plans.round_trip = least_work_;
  Known below_most = of_all;
  // First without parting plans, which takes long where it is in vain.
  for (const int parts : {0, kMostParts}) {
    Known below_high = below_most;
    double high = best;
    // From the plan's time, which is not to be refuted itself, down in greater and greater steps; then between.
    double step = parts == 0 ? kFirstStep * most : kInfinity;
    double highest = parts == 0 ? most * (1.0 - tolerance) : 0.0;
    while (high - low > tolerance * most && !is_spent()) {
      const std::array<double, 2>& shares = parts == 0 ? kThirds : kSharesInParts;
      std::array<double, 2> times = {std::max(low + shares[0] * (high - low), high - step), 0.0};
      times[1] = std::max({low + shares[1] * (high - low), 0.5 * (times[0] + high), std::exchange(highest, 0.0)});
      std::array<ChainRefuter::Outcome, 2> outcomes;
      share(2, [&](std::size_t i) {
        const double within = times[i] - after_.all;
        Known known = within <= below_high.plans.within ? below_high : of_all;
        known.plans.within = within;
        outcomes[i] = refuters_[i].refute(std::move(known.plans), std::move(known.proof), parts,
                                          ends[i] - refuters_[i].steps(), is_over_);
      });
      const std::vector<Chain> news[] = {refuters_[0].take_new(), refuters_[1].take_new()};
      refuters_[0].learn(news[1]);
      refuters_[1].learn(news[0]);
      for (const ChainRefuter::Outcome& outcome : outcomes) {
        for (const std::vector<ChainStage>& stages : outcome.found) best = std::min(best, visit(stages));
      }
      for (std::size_t i = 2; i-- > 0;) {
        if (outcomes[i].refuted) {
          low = times[i];
          proven = {std::max(proven.time, low * (1.0 - kRounding)), std::move(outcomes[i].proof)};
          step = kInfinity;
          break;
        }
        high = times[i];
        below_high.plans = std::move(outcomes[i].plans);
        below_high.proof.round_trips = std::move(outcomes[i].proof.round_trips);
        if (below_most.plans.prices.empty()) below_most = below_high;
      }
      high = std::min(high, best);
      step *= 4.0;
    }
  }
  return proven;
}

}  // namespace motley::parametric

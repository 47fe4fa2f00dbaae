#include "motley/partitioner/parametric/chain_refuter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "motley/partitioner/parametric/mixture.h"

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;
constexpr double kRises = 1e-4;       // a round trip that grows by less is not worth another round
constexpr double kNearEnough = 7e-4;  // a mixture that costs so little more than the best is as good
constexpr int kMostRounds = 6;
constexpr int kMostChains = 200;  // of a round
constexpr std::size_t kMostKnown = 200;
constexpr double kUndecided = 1e-6;  // part of a mixture

}  // namespace

ChainRefuter::ChainRefuter(const Instance& instance, double update, int most_stages)
    : instance_(instance),
      most_stages_(most_stages),
      graph_(instance, update, most_stages),
      rules_(graph_),
      labels_(graph_, rules_),
      beam_(graph_, rules_) {}

ChainRefuter::Outcome ChainRefuter::refute(Case plans, BoundProof::Chains proof, int parts, std::int64_t budget,
                                           const std::function<bool()>& is_over) {
  budget_ = steps_ + budget;
  is_over_ = is_over;
  found_.clear();
  Outcome outcome{false, std::move(plans), std::move(proof), {}};
  outcome.refuted = refute_parts(outcome.plans, parts, outcome.proof);
  outcome.found = std::move(found_);
  return outcome;
}

void ChainRefuter::learn(const std::vector<Chain>& chains) {
  known_.insert(known_.end(), chains.begin(), chains.end());
  if (known_.size() > kMostKnown) known_.erase(known_.begin(), known_.end() - kMostKnown);
}

bool ChainRefuter::list_chains(const Case& plans) {
  if (!graph_.list(plans, [this] { return is_spent(); })) {
    steps_ = std::max(steps_, budget_);
    return false;
  }
  rules_.prepare(plans);
  steps_ += graph_.steps_of_list() + rules_.steps();
  return true;
}

void ChainRefuter::show(const Chain& chain) {
  if (static_cast<int>(chain.stages.size()) > most_stages_) return;
  std::vector<ChainStage> stages;
  std::vector<std::size_t> taken(graph_.groups().size(), 0);
  for (auto stage = chain.stages.rbegin(); stage != chain.stages.rend(); ++stage) {
    const std::vector<int>& devices = graph_.groups()[stage->group].devices;
    if (taken[stage->group] == devices.size()) return;
    stages.push_back({devices[taken[stage->group]++], stage->first, stage->end, stage->depth});
  }
  found_.push_back(std::move(stages));
}

std::vector<double> ChainRefuter::by_device(const std::vector<double>& prices) const {
  std::vector<double> all(instance_.devices, 0.0);
  for (std::size_t g = 0; g < prices.size(); ++g) {
    for (const int device : graph_.groups()[g].devices) all[device] = prices[g];
  }
  return all;
}

std::pair<double, std::vector<double>> ChainRefuter::least_round_trip(const Case& plans) {
  mixed_.clear();
  std::pair<double, std::vector<double>> least{plans.round_trip, {}};
  if (!list_chains(plans)) return least;
  Mixture mixture(graph_.capacities());
  std::vector<Chain> added;
  const auto add = [&](const Chain& chain) {
    mixture.add(chain.uses, chain.round_trip);
    added.push_back(chain);
  };
  for (const Chain& chain : known_) {
    if (rules_.obeys(chain)) add(chain);
  }
  for (int i = 0; i < kMostChains; ++i) {
    const std::optional<Mixture::Prices> prices = mixture.solve();
    if (!prices || is_spent()) return least;
    // What a chain is to beat; all others cost at least as much.
    const double below = prices->rest - (prices->feasible ? kNearEnough * std::abs(prices->rest) : kRounding);
    std::optional<Chain> chain = labels_.cheapest(prices->price, prices->feasible, below);
    ++chains_;
    steps_ += labels_.take_steps();
    const double all = graph_.total(prices->price);
    const double worth = (chain ? chain->cost : below) - all - kRounding * all;
    if (!prices->feasible && worth > 0.0) return {kInfinity, prices->price};
    if (prices->feasible && worth > least.first) least = {worth, prices->price};
    if (!chain) {
      const std::vector<double> weights = mixture.weights();
      for (std::size_t c = 0; c < added.size(); ++c) {
        if (weights[c] > kRounding) mixed_.emplace_back(weights[c], std::move(added[c]));
      }
      return least;
    }
    show(*chain);
    add(*chain);
    if (known_.size() == kMostKnown) known_.erase(known_.begin());
    known_.push_back(*chain);
    new_.push_back(std::move(*chain));
  }
  return least;
}

bool ChainRefuter::refute_whole(Case& plans, BoundProof::Chains& proof) {
  for (int round = 0; round < kMostRounds && !is_spent(); ++round) {
    const bool had_prices = !plans.prices.empty();
    auto [least, prices] = least_round_trip(plans);
    if (least == kInfinity) {
      proof.prices = by_device(prices);
      return true;
    }
    if (least <= plans.round_trip * (had_prices ? 1.0 + kRises : 1.0)) break;
    plans.round_trip = least;
    proof.round_trips.push_back(by_device(prices));
    plans.prices = std::move(prices);
    if (least > plans.within * (1.0 + kRounding)) return true;
  }
  if (plans.prices.empty() || !plans.decided.empty() || !plans.excluded.empty() || is_spent()) return false;
  if (const std::optional<Chain> chain = beam_.cheapest(plans.prices, true, kInfinity)) show(*chain);
  steps_ += beam_.take_steps();
  return false;
}

std::optional<ChainGraph::Begin> ChainRefuter::most_undecided() const {
  const std::size_t groups = graph_.groups().size();
  std::vector<double> weights(static_cast<std::size_t>(instance_.layers) * groups, 0.0);
  for (const auto& [weight, chain] : mixed_) {
    for (const ChainGraph::Stage& stage : chain.stages) {
      weights[static_cast<std::size_t>(stage.first) * groups + stage.group] += weight;
    }
  }
  const auto undecided = [](double weight) { return std::min(weight, 1.0 - weight); };
  const auto most =
      std::max_element(weights.begin(), weights.end(), [&](double a, double b) { return undecided(a) < undecided(b); });
  if (undecided(*most) < kUndecided) return std::nullopt;
  const auto place = static_cast<std::size_t>(most - weights.begin());
  return ChainGraph::Begin{static_cast<int>(place / groups), static_cast<int>(place % groups)};
}

bool ChainRefuter::refute_parts(Case& plans, int& parts, BoundProof::Chains& proof) {
  if (refute_whole(plans, proof)) return true;
  const std::optional<ChainGraph::Begin> begin = most_undecided();
  if (!begin || parts == 0 || is_spent()) return false;
  --parts;
  proof.layer = begin->layer;
  proof.device = graph_.groups()[begin->group].devices.front();
  proof.parts.resize(2);
  Case with = plans;
  with.decided.push_back(*begin);
  if (!refute_parts(with, parts, proof.parts[0])) return false;
  Case without = plans;
  without.excluded.push_back(*begin);
  return refute_parts(without, parts, proof.parts[1]);
}

}  // namespace motley::parametric

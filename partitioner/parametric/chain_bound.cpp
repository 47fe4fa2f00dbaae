#include "motley/partitioner/parametric/chain_bound.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "motley/partitioner/parametric/mixture.h"
#include "motley/partitioner/space.h"

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;
constexpr double kRises = 1e-4;  // a round trip that grows by less is not worth another round
constexpr int kMostRounds = 6;
constexpr int kMostChains = 200;  // of a round
constexpr std::size_t kMostKnown = 200;
constexpr int kMostParts = 60;                  // of the plans below a time
constexpr double kUndecided = 1e-6;             // part of a mixture
constexpr std::size_t kMostCosts = 20'000'000;  // of one programme

}  // namespace

ChainBound::ChainBound(const Instance& instance, double after, int most_stages)
    : instance_(instance),
      after_(after),
      m_(instance.micro_batches),
      most_depth_((kMostExtraWarmUp + 1) * (most_stages - 1) + 1),
      links_of_cut_(static_cast<std::size_t>(instance.layers) + 1, 0) {
  const Topology& topology = instance.topology;
  std::map<std::tuple<int, int, double>, std::vector<int>> alike;
  for (int d = 0; d < static_cast<int>(instance.devices); ++d) {
    alike[{topology.host[d], topology.type[d], topology.memory[d]}].push_back(d);
  }
  for (auto& [key, devices] : alike) {
    capacities_.push_back(static_cast<double>(devices.size()));
    groups_.push_back({std::get<1>(key), std::get<2>(key), std::move(devices)});
  }
  prices_.assign(groups_.size(), 0.0);
  decided_.assign(static_cast<std::size_t>(instance.layers), -1);
  closed_.assign(static_cast<std::size_t>(instance.layers) * groups_.size(), 0);
  std::map<std::pair<Bytes, Bytes>, std::size_t> known;
  for (int cut = 1; cut < instance.layers; ++cut) {
    const auto [found, is_new] =
        known.emplace(std::pair{instance.forward_amounts[cut], instance.backward_amounts[cut]}, links_.size());
    links_of_cut_[cut] = found->second;
    if (!is_new) continue;
    for (const Group& from : groups_) {
      for (const Group& to : groups_) {
        Messages& least = links_.emplace_back(Messages{kInfinity, kInfinity});
        for (const int a : from.devices) {
          for (const int b : to.devices) {
            if (a == b) continue;
            least.forward = std::min(least.forward, instance.send_forward(a, b, cut));
            least.backward = std::min(least.backward, instance.send_backward(b, a, cut));
          }
        }
      }
    }
  }
}

bool ChainBound::knows(const Instance& instance, int most_stages) {
  return (kMostExtraWarmUp + 1) * (most_stages - 1) + 1 < instance.count;
}

const ChainBound::Messages& ChainBound::messages(int cut, int from, int to) const {
  return links_[links_of_cut_[cut] + static_cast<std::size_t>(from) * groups_.size() + to];
}

/// The most micro-batches that a stage's memory lets it have in flight; 0: not even one.
double ChainBound::deepest(const Group& group, int first, int end) const {
  const double room = group.memory - instance_.fixed_memory(first, end);
  const double saved = instance_.saved_of(first, end);
  if (m_ * saved <= room + instance_.posted_in[first]) return m_;
  return room < saved ? 0.0 : std::min(m_ - 1.0, std::floor(room / saved));
}

ChainBound::Start ChainBound::start_of(const Case& plans, int group, int first, int end) const {
  const Group& of = groups_[group];
  Start start;
  start.stage = {group, first, end, 0};
  start.work = instance_.work_of(of.type, first, end);
  start.forward = instance_.forward_of(of.type, first, end);
  const double within = plans.within * (1.0 + kRounding);
  if (m_ * start.work > within || closed_[static_cast<std::size_t>(first) * groups_.size() + group] != 0) return start;
  if (decided_[first] >= 0 && decided_[first] != group) return start;
  for (int layer = first + 1; layer < end; ++layer) {
    if (decided_[layer] >= 0) return start;
  }
  const double excess = plans.round_trip + (m_ - 1.0) * start.work - within;
  const double least = 1.0 + std::max(0.0, std::ceil(excess / start.forward - kRounding));
  start.least = static_cast<int>(std::min(least, most_depth_ + 1.0));
  start.most = end == instance_.layers ? 1 : most_depth_;
  start.most = static_cast<int>(std::min<double>(start.most, deepest(of, first, end)));
  return start;
}

bool ChainBound::is_among(const Case& plans, const Chain& chain) const {
  Start next;
  for (std::size_t s = chain.stages.size(); s-- > 0;) {
    const Stage& stage = chain.stages[s];
    const Start start = start_of(plans, stage.group, stage.first, stage.end);
    if (stage.depth < start.least || stage.depth > start.most) return false;
    if (s + 1 < chain.stages.size()) {
      const Messages& between = messages(stage.end, stage.group, next.stage.group);
      if (m_ * std::max(between.forward, between.backward) > plans.within * (1.0 + kRounding)) return false;
      const int extra = stage.depth - chain.stages[s + 1].depth - 1;
      if (stage.depth < least_depth(plans, start, next, between, extra)) return false;
    }
    next = start;
  }
  return true;
}

int ChainBound::least_depth(const Case& plans, const Start& of, const Start& next, const Messages& between,
                            int extra) const {
  const double backward = of.work - of.forward;
  const double n = extra + 2;
  const double way = of.work + next.work + between.forward + between.backward;
  if (way <= n * backward) return 1;  // the backwards alone take longer: counted for every stage
  const double most_ways =
      std::floor((plans.within - plans.round_trip - (m_ - 1.0) * backward) / (way - n * backward) + kRounding);
  return static_cast<int>(std::clamp(m_ - most_ways * n, 1.0, most_depth_ + 1.0));
}

double ChainBound::added(bool with_cost, const Start& start, double messages) const {
  return prices_[start.stage.group] + (with_cost ? start.work + messages : 0.0);
}

void ChainBound::add_start(const Case& plans, bool with_cost, Start start) {
  const Stage& stage = start.stage;
  if (stage.end == instance_.layers) {
    start.costs = costs_.size();
    costs_.push_back(added(with_cost, start, 0.0));
    starts_[stage.first].push_back(start);
    return;
  }
  row_.assign(static_cast<std::size_t>(start.most - start.least) + 1, kInfinity);
  int least = start.most + 1;
  int most = 0;
  for (const Start& next : starts_[stage.end]) {
    const Messages& between = messages(stage.end, stage.group, next.stage.group);
    if (m_ * std::max(between.forward, between.backward) > plans.within * (1.0 + kRounding)) continue;
    const double cost = added(with_cost, start, between.forward + between.backward);
    for (int extra = 0; extra <= kMostExtraWarmUp; ++extra) {
      const int from = std::max({start.least, next.least + 1 + extra, least_depth(plans, start, next, between, extra)});
      const int to = std::min(start.most, next.most + 1 + extra);
      if (from > to) continue;
      const double* const behind = costs_.data() + next.costs - next.least - 1 - extra;
      double* const here = row_.data() - start.least;
      for (int depth = from; depth <= to; ++depth) here[depth] = std::min(here[depth], behind[depth] + cost);
      steps_ += to - from + 1;
      least = std::min(least, from);
      most = std::max(most, to);
    }
  }
  if (most == 0) return;
  const auto begin = row_.begin() + (least - start.least);
  const auto end = row_.begin() + (most - start.least) + 1;
  start.least = least;
  start.most = most;
  start.costs = costs_.size();
  costs_.insert(costs_.end(), begin, end);
  starts_[stage.first].push_back(start);
}

std::optional<ChainBound::Chain> ChainBound::cheapest(const Case& plans, bool with_cost) {
  const Instance& in = instance_;
  ++chains_;
  starts_.assign(static_cast<std::size_t>(in.layers) + 1, {});
  costs_.clear();
  for (int first = in.layers - 1; first >= 0; --first) {
    for (int g = 0; g < static_cast<int>(groups_.size()); ++g) {
      for (int end = first + 1; end <= in.layers; ++end) {
        const Start start = start_of(plans, g, first, end);
        if (start.most < 1) break;  // nor any longer one
        if (start.least <= start.most) add_start(plans, with_cost, start);
      }
    }
    if (is_spent() || costs_.size() > kMostCosts) {
      steps_ = std::max(steps_, budget_);
      return std::nullopt;
    }
  }
  const Start* best = nullptr;
  int depth = 0;
  double least = kInfinity;
  for (const Start& start : starts_.front()) {
    for (int d = start.least; d <= start.most; ++d) {
      const double cost = costs_[start.costs + d - start.least];
      if (cost >= least) continue;
      least = cost;
      best = &start;
      depth = d;
    }
  }
  if (best == nullptr) return std::nullopt;
  Chain chain = follow(plans, with_cost, *best, depth);
  chain.worth = least;
  for (std::size_t g = 0; g < groups_.size(); ++g) chain.worth -= prices_[g] * capacities_[g];
  return chain;
}

/// The cheapest chain that begins so.
ChainBound::Chain ChainBound::follow(const Case& plans, bool with_cost, const Start& begin, int depth) const {
  Chain chain;
  chain.uses.assign(groups_.size(), 0.0);
  const Start* start = &begin;
  while (true) {
    const Stage& stage = start->stage;
    chain.stages.push_back({stage.group, stage.first, stage.end, depth});
    chain.uses[stage.group] += 1.0;
    chain.round_trip += start->work;
    if (stage.end == instance_.layers) return chain;
    const double cost = costs_[start->costs + depth - start->least];
    const Start* nearest = nullptr;
    int depth_of_nearest = 0;
    double difference = kInfinity;
    for (const Start& next : starts_[stage.end]) {
      const Messages& between = messages(stage.end, stage.group, next.stage.group);
      if (m_ * std::max(between.forward, between.backward) > plans.within * (1.0 + kRounding)) continue;
      for (int extra = 0; extra <= kMostExtraWarmUp; ++extra) {
        const int then = depth - 1 - extra;
        if (then < next.least || then > next.most || depth < least_depth(plans, *start, next, between, extra)) continue;
        const double found =
            costs_[next.costs + then - next.least] + added(with_cost, *start, between.forward + between.backward);
        if (std::abs(found - cost) >= difference) continue;
        difference = std::abs(found - cost);
        nearest = &next;
        depth_of_nearest = then;
      }
    }
    const Messages& between = messages(stage.end, stage.group, nearest->stage.group);
    chain.round_trip += between.forward + between.backward;
    start = nearest;
    depth = depth_of_nearest;
  }
}

double ChainBound::least_round_trip(const Case& plans, const Visit& visit) {
  Mixture mixture(capacities_);
  double least = plans.round_trip;
  std::vector<Chain> added;
  const auto add = [&](const Chain& chain) {
    mixture.add(chain.uses, chain.round_trip);
    added.push_back(chain);
  };
  for (const Chain& chain : known_) {
    if (is_among(plans, chain)) add(chain);
  }
  mixed_.clear();
  for (int i = 0; i < kMostChains; ++i) {
    const std::optional<Mixture::Prices> prices = mixture.solve();
    if (!prices) return least;
    prices_ = prices->price;
    std::optional<Chain> chain = cheapest(plans, prices->feasible);
    if (!chain) return is_spent() ? least : kInfinity;
    double all = 0.0;
    for (std::size_t g = 0; g < groups_.size(); ++g) all += prices_[g] * capacities_[g];
    if (prices->feasible) {
      least = std::max(least, chain->worth - kRounding * all);
    } else if (chain->worth > kRounding * all) {
      return kInfinity;
    }
    const bool fits = std::equal(chain->uses.begin(), chain->uses.end(), capacities_.begin(), std::less_equal<>());
    if (fits) visit(chain->stages);
    const double beaten = chain->worth + all;
    if (beaten >= prices->rest - kRounding * std::max(1.0, std::abs(prices->rest))) {
      const std::vector<double> weights = mixture.weights();
      for (std::size_t c = 0; c < added.size(); ++c) {
        if (weights[c] > kRounding) mixed_.emplace_back(weights[c], std::move(added[c]));
      }
      return least;
    }
    add(*chain);
    if (known_.size() == kMostKnown) known_.erase(known_.begin());
    known_.push_back(std::move(*chain));
  }
  return least;
}

bool ChainBound::refute(Case& plans, const Visit& visit) {
  for (int round = 0; round < kMostRounds && !is_spent(); ++round) {
    const double least = least_round_trip(plans, visit);
    if (least >= plans.within) return true;
    const bool rises = least > plans.round_trip * (1.0 + kRises);
    plans.round_trip = std::max(plans.round_trip, least);
    if (!rises) return false;
  }
  return false;
}

std::optional<ChainBound::Begin> ChainBound::most_undecided() const {
  std::vector<double> weights(closed_.size(), 0.0);
  for (const auto& [weight, chain] : mixed_) {
    for (const Stage& stage : chain.stages) {
      weights[static_cast<std::size_t>(stage.first) * groups_.size() + stage.group] += weight;
    }
  }
  const auto undecided = [](double weight) { return std::min(weight, 1.0 - weight); };
  const auto most =
      std::max_element(weights.begin(), weights.end(), [&](double a, double b) { return undecided(a) < undecided(b); });
  if (undecided(*most) < kUndecided) return std::nullopt;
  const auto place = static_cast<int>(most - weights.begin());
  const auto groups = static_cast<int>(groups_.size());
  return Begin{place / groups, place % groups};
}

bool ChainBound::refute_parts(Case& plans, const Visit& visit, int& parts) {
  if (refute(plans, visit)) return true;
  const std::optional<Begin> begin = most_undecided();
  if (!begin || parts == 0 || is_spent()) return false;
  --parts;
  Case with = plans;
  decided_[begin->layer] = begin->group;
  const bool with_it = refute_parts(with, visit, parts);
  decided_[begin->layer] = -1;
  if (!with_it) return false;
  Case without = plans;
  char& closed = closed_[static_cast<std::size_t>(begin->layer) * groups_.size() + begin->group];
  closed = 1;
  const bool without_it = refute_parts(without, visit, parts);
  closed = 0;
  return without_it;
}

double ChainBound::bound(double low, double most, double tolerance, std::int64_t budget, const Visit& visit) {
  budget_ = steps_ + budget;
  double round_trip = 0.0;  // of plans that take less than `high`
  for (int l = 0; l < instance_.layers; ++l) {
    double least = kInfinity;
    for (const std::vector<double>& work : instance_.work) least = std::min(least, work[l + 1] - work[l]);
    round_trip += least;
  }
  double proven = low;
  double high = most;
  double next = most * (1.0 - tolerance);  // the plan that takes `most` is not to be refuted itself
  while (high - low > tolerance * most && !is_spent()) {
    Case plans{next - after_, round_trip};
    int parts = kMostParts;
    if (next > low && refute_parts(plans, visit, parts)) {
      low = next;
      proven = std::max(proven, next * (1.0 - kRounding));
    } else {
      high = next;
      round_trip = plans.round_trip;
    }
    next = 0.5 * (low + high);
  }
  return proven;
}

}  // namespace motley::parametric

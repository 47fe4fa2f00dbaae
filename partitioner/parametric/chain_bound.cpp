#include "motley/partitioner/parametric/chain_bound.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

#include "motley/partitioner/parametric/mixture.h"
#include "motley/partitioner/space.h"

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;
constexpr double kRoundingOfWays = 1e-6;
constexpr double kRises = 1e-4;  // a round trip that grows by less is not worth another round
constexpr int kMostRounds = 6;
constexpr int kMostChains = 200;  // of a round
constexpr std::size_t kMostKnown = 200;
constexpr int kMostParts = 60;                    // of the plans below a time
constexpr double kUndecided = 1e-6;               // part of a mixture
constexpr std::size_t kMostNumbers = 20'000'000;  // of one programme, of 8 or 16 bytes

}  // namespace

ChainBound::ChainBound(const Instance& instance, double after, int most_stages, std::function<bool()> is_over)
    : instance_(instance),
      after_(after),
      m_(instance.micro_batches),
      most_stages_(most_stages),
      is_over_(std::move(is_over)),
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
  const std::int64_t most_depth = std::int64_t{kMostExtraWarmUp + 1} * (most_stages - 1) + 1;
  return most_depth < instance.count && most_depth <= std::numeric_limits<std::uint16_t>::max();
}

const ChainBound::Messages& ChainBound::messages(int cut, int from, int to) const {
  return links_[links_of_cut_[cut] + static_cast<std::size_t>(from) * groups_.size() + to];
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
  const double in_flight = instance_.most_in_flight(of.memory - instance_.fixed_memory(first, end),
                                                    instance_.saved_of(first, end), instance_.posted_in[first]);
  start.most = static_cast<int>(std::min<double>(end == instance_.layers ? 1 : most_depth_, in_flight));
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
      const int extra = stage.depth - chain.stages[s + 1].depth - 1;
      if (stage.depth < least_depth(plans, start, next, between, extra)) return false;
    }
    next = start;
  }
  return true;
}

int ChainBound::least_depth(const Case& plans, const Start& of, const Start& next, const Messages& between,
                            int extra) const {
  if (m_ * std::max(between.forward, between.backward) > plans.within * (1.0 + kRounding)) return most_depth_ + 1;
  const double backward = of.work - of.forward;
  const double n = extra + 2;
  const double way = of.work + next.work + between.forward + between.backward;
  if (way <= n * backward) return 1;  // the backwards alone take longer: counted for every stage
  const double most_ways =
      std::floor((plans.within - plans.round_trip - (m_ - 1.0) * backward) / (way - n * backward) + kRoundingOfWays);
  return static_cast<int>(std::clamp(m_ - most_ways * n, 1.0, most_depth_ + 1.0));
}

void ChainBound::add_start(const Case& plans, Start start) {
  const Stage& stage = start.stage;
  const int least = start.least;
  const int most = start.most;
  start.first_way = ways_.size();
  if (stage.end < instance_.layers) {
    start.least = most + 1;
    start.most = 0;
    for (std::size_t index = starts_of_[stage.end + 1]; index < starts_of_[stage.end]; ++index) {
      const Start& next = starts_[index];
      const Messages& between = messages(stage.end, stage.group, next.stage.group);
      for (int extra = 0; extra <= kMostExtraWarmUp; ++extra) {
        const int fall = extra + 1;
        const int from = std::max({least, next.least + fall, least_depth(plans, start, next, between, extra)});
        const int to = std::min(most, next.most + fall);
        ++steps_;
        if (from > to) continue;
        ways_.push_back({static_cast<std::uint32_t>(next.row + static_cast<std::size_t>(from - fall - next.least)),
                         static_cast<std::uint16_t>(from), static_cast<std::uint16_t>(to),
                         between.forward + between.backward});
        start.least = std::min(start.least, from);
        start.most = std::max(start.most, to);
      }
    }
    if (start.most == 0) return;
  }
  start.end_way = ways_.size();
  start.row = costs_.size();
  costs_.resize(costs_.size() + static_cast<std::size_t>(start.most - start.least) + 1);
  starts_.push_back(start);
}

bool ChainBound::list_chains(const Case& plans) {
  const int layers = instance_.layers;
  starts_.clear();
  ways_.clear();
  costs_.clear();
  starts_of_.assign(static_cast<std::size_t>(layers) + 2, 0);
  for (int first = layers - 1; first >= 0; --first) {
    starts_of_[first + 1] = starts_.size();
    for (int g = 0; g < static_cast<int>(groups_.size()); ++g) {
      for (int end = first + 1; end <= layers; ++end) {
        const Start start = start_of(plans, g, first, end);
        if (start.most < 1) break;  // nor any longer one
        if (start.least <= start.most) add_start(plans, start);
      }
    }
    starts_of_[first] = starts_.size();
    if (is_spent() || costs_.size() + ways_.size() > kMostNumbers) {
      steps_ = std::max(steps_, budget_);
      return false;
    }
  }
  return true;
}

double ChainBound::added(bool with_cost, const Start& start, double messages) const {
  return prices_[start.stage.group] + (with_cost ? start.work + messages : 0.0);
}

std::optional<ChainBound::Chain> ChainBound::cheapest(bool with_cost) {
  ++chains_;
  for (const Start& start : starts_) {
    double* const here = costs_.data() + start.row;
    if (start.stage.end == instance_.layers) {
      *here = added(with_cost, start, 0.0);
      continue;
    }
    std::fill(here, here + (start.most - start.least + 1), kInfinity);
    for (std::size_t w = start.first_way; w < start.end_way; ++w) {
      const Way& way = ways_[w];
      const double cost = added(with_cost, start, way.messages);
      const double* const behind = costs_.data() + way.behind;
      double* const from = here + (way.least - start.least);
      const int count = way.most - way.least + 1;
      for (int i = 0; i < count; ++i) from[i] = std::min(from[i], behind[i] + cost);
      steps_ += count;
    }
  }
  std::size_t best = starts_.size();
  int depth = 0;
  double least = kInfinity;
  for (std::size_t s = starts_of_[1]; s < starts_of_[0]; ++s) {
    for (int d = starts_[s].least; d <= starts_[s].most; ++d) {
      const double cost = costs_[starts_[s].row + d - starts_[s].least];
      if (cost >= least) continue;
      least = cost;
      best = s;
      depth = d;
    }
  }
  if (best == starts_.size()) return std::nullopt;
  Chain chain = follow(with_cost, best, depth);
  chain.worth = least;
  for (std::size_t g = 0; g < groups_.size(); ++g) chain.worth -= prices_[g] * capacities_[g];
  return chain;
}

/// The cheapest chain that begins so.
ChainBound::Chain ChainBound::follow(bool with_cost, std::size_t begin, int depth) const {
  Chain chain;
  chain.uses.assign(groups_.size(), 0.0);
  for (const Start* start = &starts_[begin];;) {
    const Stage& stage = start->stage;
    chain.stages.push_back({stage.group, stage.first, stage.end, depth});
    chain.uses[stage.group] += 1.0;
    chain.round_trip += start->work;
    if (stage.end == instance_.layers) return chain;
    const double cost = costs_[start->row + depth - start->least];
    const Way* taken = nullptr;
    double difference = kInfinity;
    for (std::size_t w = start->first_way; w < start->end_way; ++w) {
      const Way& way = ways_[w];
      if (depth < way.least || depth > way.most) continue;
      const double found = costs_[way.behind + (depth - way.least)] + added(with_cost, *start, way.messages);
      if (std::abs(found - cost) >= difference) continue;
      difference = std::abs(found - cost);
      taken = &way;
    }
    chain.round_trip += taken->messages;
    const std::size_t row = taken->behind + static_cast<std::size_t>(depth - taken->least);
    start = &start_at(row);
    depth = start->least + static_cast<int>(row - start->row);
  }
}

const ChainBound::Start& ChainBound::start_at(std::size_t row) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), row,
                                      [](std::size_t of, const Start& start) { return of < start.row; });
  return *std::prev(after);
}

std::vector<ChainStage> ChainBound::placed(const Chain& chain) const {
  if (static_cast<int>(chain.stages.size()) > most_stages_) return {};
  std::vector<ChainStage> stages;
  std::vector<std::size_t> taken(groups_.size(), 0);
  for (auto stage = chain.stages.rbegin(); stage != chain.stages.rend(); ++stage) {
    const std::vector<int>& devices = groups_[stage->group].devices;
    if (taken[stage->group] == devices.size()) return {};
    stages.push_back({devices[taken[stage->group]++], stage->first, stage->end, stage->depth});
  }
  return stages;
}

std::vector<double> ChainBound::by_device(const std::vector<double>& prices) const {
  std::vector<double> all(instance_.devices, 0.0);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (const int device : groups_[g].devices) all[device] = prices[g];
  }
  return all;
}

std::pair<double, std::vector<double>> ChainBound::least_round_trip(const Case& plans, const Visit& visit) {
  mixed_.clear();
  std::pair<double, std::vector<double>> least{plans.round_trip, {}};
  if (!list_chains(plans)) return least;
  Mixture mixture(capacities_);
  std::vector<Chain> added;
  const auto add = [&](const Chain& chain) {
    mixture.add(chain.uses, chain.round_trip);
    added.push_back(chain);
  };
  for (const Chain& chain : known_) {
    if (is_among(plans, chain)) add(chain);
  }
  for (int i = 0; i < kMostChains; ++i) {
    const std::optional<Mixture::Prices> prices = mixture.solve();
    if (!prices || is_spent()) return least;
    prices_ = prices->price;
    std::optional<Chain> chain = cheapest(prices->feasible);
    if (!chain) return {kInfinity, prices_};
    double all = 0.0;
    for (std::size_t g = 0; g < groups_.size(); ++g) all += prices_[g] * capacities_[g];
    if (!prices->feasible && chain->worth > kRounding * all) return {kInfinity, prices_};
    if (prices->feasible && chain->worth - kRounding * all > least.first) {
      least = {chain->worth - kRounding * all, prices_};
    }
    if (const std::vector<ChainStage> stages = placed(*chain); !stages.empty()) visit(stages);
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

bool ChainBound::refute(Case& plans, const Visit& visit, BoundProof::Chains& proof) {
  for (int round = 0; round < kMostRounds && !is_spent(); ++round) {
    const auto [least, prices] = least_round_trip(plans, visit);
    if (least == kInfinity) {
      proof.prices = by_device(prices);
      return true;
    }
    if (least <= plans.round_trip * (1.0 + kRises)) return false;
    plans.round_trip = least;
    proof.round_trips.push_back(by_device(prices));
    if (least > plans.within * (1.0 + kRounding)) return true;
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

bool ChainBound::refute_parts(Case& plans, const Visit& visit, int& parts, BoundProof::Chains& proof) {
  if (refute(plans, visit, proof)) return true;
  const std::optional<Begin> begin = most_undecided();
  if (!begin || parts == 0 || is_spent()) return false;
  --parts;
  proof.layer = begin->layer;
  proof.device = groups_[begin->group].devices.front();
  proof.parts.resize(2);
  Case with = plans;
  decided_[begin->layer] = begin->group;
  const bool with_it = refute_parts(with, visit, parts, proof.parts[0]);
  decided_[begin->layer] = -1;
  if (!with_it) return false;
  Case without = plans;
  char& closed = closed_[static_cast<std::size_t>(begin->layer) * groups_.size() + begin->group];
  closed = 1;
  const bool without_it = refute_parts(without, visit, parts, proof.parts[1]);
  closed = 0;
  return without_it;
}

ChainBound::Proven ChainBound::bound(double low, double most, double tolerance, std::int64_t budget,
                                     const Visit& visit) {
  budget_ = steps_ + budget;
  double least_work = 0.0;
  for (int l = 0; l < instance_.layers; ++l) {
    double least = kInfinity;
    for (const std::vector<double>& work : instance_.work) least = std::min(least, work[l + 1] - work[l]);
    least_work += least;
  }
  Proven proven{low, std::nullopt};
  // First without parting plans, which takes long where it is in vain.
  for (const int most_parts : {0, kMostParts}) {
    double round_trip = least_work;  // of plans that take less than `high`
    BoundProof::Chains of_round_trip;
    double high = most;
    double next = most * (1.0 - tolerance);  // the plan that takes `most` is not to be refuted itself
    while (high - low > tolerance * most && !is_spent()) {
      Case plans{next - after_, round_trip};
      BoundProof::Chains proof = of_round_trip;
      int parts = most_parts;
      if (next > low && refute_parts(plans, visit, parts, proof)) {
        low = next;
        proven = {std::max(proven.time, next * (1.0 - kRounding)), std::move(proof)};
      } else {
        high = next;
        round_trip = plans.round_trip;
        of_round_trip.round_trips = std::move(proof.round_trips);
      }
      next = 0.5 * (low + high);
    }
  }
  return proven;
}

}  // namespace motley::parametric

#include "motley/partitioner/check_chains.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "motley/partitioner/space.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-12;
constexpr double kRoundingOfSums = 1e-9;
constexpr double kMorePrices = 1.5;  // beside seconds of which some count twice

struct Class {
  const DeviceTimes* times;
  double memory;
  std::vector<int> devices;
};

/// To the next stage, from warm-ups from .. to.
struct Step {
  std::size_t to;  // choice
  int fall;        // of the warm-up
  int from, until;
  double messages;
};

/// A chain from a stage on: what it costs and the worst of its round trips, seconds and micro-batches.
struct Tail {
  double cost, trip;
  int advance;
};

struct Choice {
  int first, end;
  std::size_t of;  // class
  double work, forward;
  double within;
  int least, most;  // warm-up
  std::vector<Step> steps;
  std::vector<std::vector<Tail>> tails;  // [warm-up - least]

  [[nodiscard]] std::size_t count() const { return static_cast<std::size_t>(most - least) + 1; }
};

/// [choice][warm-up - least]
using Table = std::vector<std::vector<double>>;

/// Which plans are looked at.
struct Plans {
  double round_trip = 0.0;
  std::vector<double> prices;                  // [class], that proved it
  std::map<int, std::size_t> starts;           // layer: the class of the stage that starts there
  std::set<std::pair<int, std::size_t>> none;  // (layer, class): no stage starts so
};

class ChainsCheck {
 public:
  ChainsCheck(const Profile& profile, const SearchOptions& options, std::int64_t size, double within, double update)
      : profile_(profile),
        layers_(static_cast<int>(profile.model.layers.size())),
        size_(size),
        index_(profile.model.size_index(size)),
        count_(options.global_batch / size),
        within_(within * (1.0 + kRounding)),
        deepest_(3 * (most_stages(profile, options) - 1) + 1),
        update_(update) {
    std::map<std::tuple<std::string, std::string, std::int64_t>, std::size_t> known;
    for (int d = 0; d < profile.cluster.size(); ++d) {
      const Device& device = profile.cluster.devices[d];
      const std::int64_t memory = (device.memory - profile.model.base_memory).value;
      const auto [found, is_new] = known.emplace(std::tuple{device.host, device.type, memory}, classes_.size());
      if (is_new) classes_.push_back({&profile.model.device(device.type).busy, static_cast<double>(memory), {}});
      classes_[found->second].devices.push_back(d);
      class_of_.push_back(found->second);
    }
  }

  std::string run(const BoundProof::Chains& chains) {
    if (deepest_ >= count_) return fmt::format("chains prove nothing about {} micro-batches or fewer", deepest_);
    Plans plans;
    for (int l = 0; l < layers_; ++l) {
      double least = kInfinity;
      for (const Class& of : classes_) {
        const LayerTimes& times = of.times->by_size[index_][l];
        least = std::min(least, times.forward.value + times.backward.value);
      }
      plans.round_trip += least;
    }
    return check(chains, plans, "chains");
  }

 private:
  std::string check(const BoundProof::Chains& chains, Plans plans, const std::string& where) {
    for (std::size_t round = 0; round < chains.round_trips.size(); ++round) {
      double worth = 0.0;
      const std::string wrong = value(chains.round_trips[round], plans, true, worth);
      if (!wrong.empty()) return fmt::format("{}.round_trips[{}]: {}", where, round, wrong);
      plans.round_trip = std::max(plans.round_trip, worth);
      plans.prices = of_classes(chains.round_trips[round]);
      if (plans.round_trip > within_) return {};
    }
    if (!chains.prices.empty()) {
      double worth = 0.0;
      const std::string wrong = value(chains.prices, plans, false, worth);
      if (!wrong.empty()) return fmt::format("{}.prices: {}", where, wrong);
      return worth > 0.0 ? "" : fmt::format("{}.prices: there are chains that these prices do not refute", where);
    }
    if (chains.parts.size() != 2) {
      return fmt::format("{}: neither prices nor two parts found, and a round trip of {} s refutes nothing", where,
                         plans.round_trip);
    }
    if (chains.layer < 0 || chains.layer >= layers_ || chains.device < 0 || chains.device >= profile_.cluster.size()) {
      return fmt::format("{}: layer {} and device {} found, at most {} and {} expected", where, chains.layer,
                         chains.device, layers_ - 1, profile_.cluster.size() - 1);
    }
    const std::size_t of = class_of_[chains.device];
    Plans with = plans;
    if (const auto [known, is_new] = with.starts.emplace(chains.layer, of); is_new || known->second == of) {
      if (std::string wrong = check(chains.parts[0], std::move(with), where + ".parts[0]"); !wrong.empty())
        return wrong;
    }
    plans.none.emplace(chains.layer, of);
    return check(chains.parts[1], std::move(plans), where + ".parts[1]");
  }

  /// The least cost of a chain at the prices, less those of all devices, rounded down.
  std::string value(const std::vector<double>& prices, const Plans& plans, bool with_time, double& worth) const {
    if (prices.size() != class_of_.size()) {
      return fmt::format("{} prices found, {} expected", prices.size(), class_of_.size());
    }
    double all = 0.0;
    for (std::size_t d = 0; d < prices.size(); ++d) {
      if (!(prices[d] >= 0.0 && prices[d] < kInfinity)) return fmt::format("{} found, 0 or more expected", prices[d]);
      if (prices[d] != prices[classes_[class_of_[d]].devices.front()])
        return "two prices of devices that are alike found";
      all += prices[d];
    }
    std::vector<Choice> choices = list(plans);
    bound_tails(choices, plans, with_time, of_classes(prices));
    double least = kInfinity;
    for (const Choice& choice : choices) {
      if (choice.first != 0) continue;
      for (const std::vector<Tail>& tails : choice.tails) {
        for (const Tail& tail : tails) least = std::min(least, tail.cost);
      }
    }
    worth = least == kInfinity ? kInfinity : least - all - kRoundingOfSums * all;
    return {};
  }

  [[nodiscard]] std::vector<double> of_classes(const std::vector<double>& prices) const {
    std::vector<double> all;
    for (const Class& of : classes_) all.push_back(prices[of.devices.front()]);
    return all;
  }

  /// Stages by falling first layer, and the steps between them.
  std::vector<Choice> list(const Plans& plans) const {
    std::vector<Choice> choices;
    std::vector<std::size_t> begin(static_cast<std::size_t>(layers_) + 1, 0);  // [layer], of those that start with it
    std::vector<std::size_t> end(static_cast<std::size_t>(layers_) + 1, 0);
    for (int first = layers_ - 1; first >= 0; --first) {
      begin[first] = choices.size();
      for (std::size_t of = 0; of < classes_.size(); ++of) {
        for (Choice& choice : stages(plans, of, first)) {
          if (choice.end < layers_) {
            for (std::size_t next = begin[choice.end]; next < end[choice.end]; ++next) {
              add_steps(choice, next, choices[next], plans);
            }
            if (choice.steps.empty()) continue;
          }
          choices.push_back(std::move(choice));
        }
      }
      end[first] = choices.size();
    }
    return choices;
  }

  /// Of the class, from `first` on.
  std::vector<Choice> stages(const Plans& plans, std::size_t of, int first) const {
    std::vector<Choice> found;
    if (plans.none.contains({first, of})) return found;
    if (const auto start = plans.starts.find(first); start != plans.starts.end() && start->second != of) return found;
    const Class& devices = classes_[of];
    const auto m = static_cast<double>(count_);
    const double overhead = profile_.cluster.action_overhead.value;
    Choice choice{first, first, of, 2.0 * overhead, overhead, within_, 0, 0, {}, {}};
    double held = 0.0;
    double saved = 0.0;
    double update = 0.0;
    if (first > 0) held += static_cast<double>(forward_bytes(profile_.model.layers[first - 1].output, size_).value);
    const double posted = held;
    while (choice.end < layers_) {
      if (choice.end > first && plans.starts.contains(choice.end)) break;
      const LayerProfile& layer = profile_.model.layers[choice.end];
      update += devices.times->update[choice.end].value;
      const LayerTimes& times = devices.times->by_size[index_][choice.end++];
      choice.work += times.forward.value + times.backward.value;
      choice.forward += times.forward.value;
      choice.within = within_ - std::max(0.0, update - update_);
      if (m * choice.work > choice.within) break;
      held += static_cast<double>((2 * layer.parameters + layer.optimizer_state).value);
      saved += static_cast<double>(layer.memory[index_].saved.value);
      double fixed = held;
      if (choice.end < layers_) {
        fixed += 2.0 * static_cast<double>(backward_bytes(layer.output, size_).value);  // posted ahead
      }
      double most = std::floor((devices.memory - fixed) / saved);
      if (fixed - posted + m * saved <= devices.memory) most = m;
      if (fixed + saved > devices.memory) continue;
      const double excess = plans.round_trip + (m - 1.0) * choice.work - choice.within;
      choice.least = static_cast<int>(std::min(1.0 + std::max(0.0, std::ceil(excess / choice.forward)), m));
      choice.most = static_cast<int>(std::min<double>(most, choice.end == layers_ ? 1 : deepest_));
      if (choice.least <= choice.most) found.push_back(choice);
    }
    return found;
  }

  void add_steps(Choice& choice, std::size_t index, const Choice& next, const Plans& plans) const {
    const auto m = static_cast<double>(count_);
    const auto [forward, backward] = messages(choice.end, choice.of, next.of);
    const double within = std::min(choice.within, next.within);
    if (m * std::max(forward, backward) > within) return;
    const double way = choice.work + next.work + forward + backward;
    for (int fall = 1; fall <= 3; ++fall) {
      const auto keeps_up = [&](int depth) {
        const double ways = std::floor((m - 1.0 - depth) / (fall + 1)) + 1.0;
        const double left = (m - 1.0 - ways * (fall + 1)) * (choice.work - choice.forward);
        return plans.round_trip + ways * way + left <= within;
      };
      Step step{index, fall, std::max(choice.least, next.least + fall), std::min(choice.most, next.most + fall),
                forward + backward};
      // A deeper stage has fewer such ways, which take longer than their backwards alone, or else all depths do.
      while (step.from <= step.until && !keeps_up(step.from)) ++step.from;
      if (step.from <= step.until) choice.steps.push_back(step);
    }
  }

  /// The least of `seconds` times the seconds of the stages from each one on, and the prices.
  Table from(const std::vector<Choice>& choices, const std::vector<double>& prices, double seconds) const {
    Table costs;
    for (const Choice& choice : choices) {
      const double own = prices[choice.of] + seconds * choice.work;
      std::vector<double>& here = costs.emplace_back(choice.count(), choice.end == layers_ ? own : kInfinity);
      for (const Step& step : choice.steps) {
        for (int depth = step.from; depth <= step.until; ++depth) {
          const double behind = costs[step.to][depth - step.fall - choices[step.to].least];
          here[depth - choice.least] = std::min(here[depth - choice.least], own + seconds * step.messages + behind);
        }
      }
    }
    return costs;
  }

  /// Likewise of those before it, seconds once.
  Table before(const std::vector<Choice>& choices, const std::vector<double>& prices) const {
    Table costs;
    for (const Choice& choice : choices) costs.emplace_back(choice.count(), choice.first == 0 ? 0.0 : kInfinity);
    for (std::size_t c = choices.size(); c-- > 0;) {
      const Choice& choice = choices[c];
      for (const Step& step : choice.steps) {
        for (int depth = step.from; depth <= step.until; ++depth) {
          double& there = costs[step.to][depth - step.fall - choices[step.to].least];
          there = std::min(there, costs[c][depth - choice.least] + prices[choice.of] + choice.work + step.messages);
        }
      }
    }
    return costs;
  }

  /// The longest C / n of round trips of each stage and warm-up; negative: no plan has it.
  Table periods(const std::vector<Choice>& choices, const Plans& plans) const {
    const std::vector<double> none(classes_.size(), 0.0);
    const std::vector<double>& once = plans.prices.empty() ? none : plans.prices;
    std::vector<double> more = once;
    double total = 0.0;
    for (std::size_t of = 0; of < classes_.size(); ++of) {
      total += once[of] * static_cast<double>(classes_[of].devices.size());
      more[of] *= kMorePrices;
    }
    const Table tail = from(choices, none, 1.0);
    const Table before_once = before(choices, once);
    const Table from_once = from(choices, once, 1.0);
    const Table before_more = before(choices, more);
    const Table from_more = from(choices, more, 2.0);
    const auto m = static_cast<double>(count_);
    Table longest;
    for (std::size_t c = 0; c < choices.size(); ++c) {
      const Choice& choice = choices[c];
      const double backward = choice.work - choice.forward;
      std::vector<double>& here = longest.emplace_back();
      for (std::size_t i = 0; i < choice.count(); ++i) {
        const double depth = choice.least + static_cast<double>(i);
        const double round_trip =
            std::max(plans.round_trip, before_once[c][i] + from_once[c][i] - total * (1.0 + kRoundingOfSums));
        const double both = std::max(round_trip + tail[c][i], before_more[c][i] + from_more[c][i] -
                                                                  kMorePrices * total * (1.0 + kRoundingOfSums));
        const double rest = choice.within - both;
        double period = backward + (choice.within - round_trip - (m - 1.0) * backward) / (m - depth);
        if (m > 2.0 * depth) {
          period = std::min(period, std::max(choice.work, (rest - (depth - 1.0) * choice.work) / (m - 2.0 * depth)));
        }
        here.push_back(choice.work <= period && (m - 1.0 - depth) * choice.work <= rest ? period : -1.0);
      }
    }
    return longest;
  }

  /// Every chain that begins with a choice, but for those that another one of no more cost and no longer round trips
  /// stands for.
  void bound_tails(std::vector<Choice>& choices, const Plans& plans, bool with_time,
                   const std::vector<double>& prices) const {
    const Table longest = periods(choices, plans);
    double shortest_period = kInfinity;
    double longest_period = 0.0;
    for (const std::vector<double>& of : longest) {
      for (const double period : of) {
        if (period < 0.0) continue;
        shortest_period = std::min(shortest_period, period);
        longest_period = std::max(longest_period, period);
      }
    }
    const auto is_no_longer = [&](const Tail& a, const Tail& b) {
      return a.trip - a.advance * shortest_period <= b.trip - b.advance * shortest_period &&
             a.trip - a.advance * longest_period <= b.trip - b.advance * longest_period;
    };
    const auto add = [&](std::vector<Tail>& tails, const Tail& tail) {
      for (const Tail& other : tails) {
        if (other.cost <= tail.cost && is_no_longer(other, tail)) return;
      }
      std::erase_if(tails, [&](const Tail& other) { return tail.cost <= other.cost && is_no_longer(tail, other); });
      tails.push_back(tail);
    };
    for (std::size_t c = 0; c < choices.size(); ++c) {
      Choice& choice = choices[c];
      choice.tails.resize(choice.count());
      const double own = prices[choice.of] + (with_time ? choice.work : 0.0);
      if (choice.end == layers_ && longest[c].front() >= 0.0) choice.tails.front().push_back({own, choice.work, 1});
      for (const Step& step : choice.steps) {
        const Choice& next = choices[step.to];
        for (int depth = step.from; depth <= step.until; ++depth) {
          const double period = longest[c][depth - choice.least];
          if (period < 0.0) continue;
          for (const Tail& behind : next.tails[depth - step.fall - next.least]) {
            Tail tail{own + (with_time ? step.messages : 0.0) + behind.cost, choice.work + step.messages + behind.trip,
                      behind.advance + step.fall};
            if (tail.trip > tail.advance * period) continue;
            if (choice.work - period > tail.trip - tail.advance * period) {
              tail.trip = choice.work;
              tail.advance = 1;
            }
            add(choice.tails[depth - choice.least], tail);
          }
        }
      }
    }
  }

  /// The fastest of the boundary before layer `cut` between devices of two classes.
  std::pair<double, double> messages(int cut, std::size_t from, std::size_t to) const {
    const Boundary& boundary = profile_.model.layers[cut - 1].output;
    const std::pair key{std::pair{forward_bytes(boundary, size_), backward_bytes(boundary, size_)},
                        std::pair{from, to}};
    const auto known = messages_.find(key);
    if (known != messages_.end()) return known->second;
    std::pair<double, double> least{kInfinity, kInfinity};
    for (const int a : classes_[from].devices) {
      for (const int b : classes_[to].devices) {
        if (a == b) continue;
        least.first = std::min(least.first, profile_.cluster.links[a][b].time(key.first.first).value);
        least.second = std::min(least.second, profile_.cluster.links[b][a].time(key.first.second).value);
      }
    }
    messages_.emplace(key, least);
    return least;
  }

  const Profile& profile_;
  int layers_;
  std::int64_t size_;
  std::size_t index_;
  std::int64_t count_;
  double within_;
  std::int64_t deepest_;
  double update_;  // the longest that `within` allows for
  std::vector<Class> classes_;
  std::vector<std::size_t> class_of_;  // [device]
  mutable std::map<std::pair<std::pair<Bytes, Bytes>, std::pair<std::size_t, std::size_t>>, std::pair<double, double>>
      messages_;
};

}  // namespace

std::string check_chains(const BoundProof::Chains& chains, const Profile& profile, const SearchOptions& options,
                         std::int64_t size, double within, double update) {
  return ChainsCheck(profile, options, size, within, update).run(chains);
}

}  // namespace motley

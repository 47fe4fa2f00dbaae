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

struct Class {
  const DeviceTimes* times;
  double memory;
  std::vector<int> devices;
};

struct Choice {
  int end;
  std::size_t of;  // class
  double work, forward;
  int least, most;            // warm-up
  std::vector<double> costs;  // [warm-up - least], of the cheapest chain from here on
};

/// Which plans are looked at.
struct Plans {
  double round_trip = 0.0;
  std::map<int, std::size_t> starts;           // layer: the class of the stage that starts there
  std::set<std::pair<int, std::size_t>> none;  // (layer, class): no stage starts so
};

class ChainsCheck {
 public:
  ChainsCheck(const Profile& profile, const SearchOptions& options, std::int64_t size, double within)
      : profile_(profile),
        layers_(static_cast<int>(profile.model.layers.size())),
        size_(size),
        index_(profile.model.size_index(size)),
        count_(options.global_batch / size),
        within_(within * (1.0 + kRounding)),
        deepest_(3 * (most_stages(profile, options) - 1) + 1) {
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
    std::vector<std::vector<Choice>> choices(static_cast<std::size_t>(layers_) + 1);
    for (int first = layers_ - 1; first >= 0; --first) {
      for (std::size_t of = 0; of < classes_.size(); ++of) {
        add(choices, plans, of, first, with_time, prices[classes_[of].devices.front()]);
      }
    }
    double least = kInfinity;
    for (const Choice& choice : choices.front()) {
      for (const double cost : choice.costs) least = std::min(least, cost);
    }
    worth = least == kInfinity ? kInfinity : least - all - kRoundingOfSums * all;
    return {};
  }

  /// All stages of the class that start with `first`.
  void add(std::vector<std::vector<Choice>>& choices, const Plans& plans, std::size_t of, int first, bool with_time,
           double price) const {
    if (plans.none.contains({first, of})) return;
    if (const auto start = plans.starts.find(first); start != plans.starts.end() && start->second != of) return;
    const Class& devices = classes_[of];
    const auto m = static_cast<double>(count_);
    Choice choice{first, of, 2.0 * profile_.cluster.action_overhead.value, profile_.cluster.action_overhead.value, 0,
                  0,     {}};
    double held = 0.0;
    double saved = 0.0;
    if (first > 0) held += static_cast<double>(forward_bytes(profile_.model.layers[first - 1].output, size_).value);
    const double posted = held;
    while (choice.end < layers_) {
      if (choice.end > first && plans.starts.contains(choice.end)) return;
      const LayerProfile& layer = profile_.model.layers[choice.end];
      const LayerTimes& times = devices.times->by_size[index_][choice.end++];
      choice.work += times.forward.value + times.backward.value;
      choice.forward += times.forward.value;
      if (m * choice.work > within_) return;
      held += static_cast<double>((2 * layer.parameters + layer.optimizer_state).value);
      saved += static_cast<double>(layer.memory[index_].saved.value);
      double fixed = held;
      if (choice.end < layers_) {
        fixed += 2.0 * static_cast<double>(backward_bytes(layer.output, size_).value);  // posted ahead
      }
      double most = std::floor((devices.memory - fixed) / saved);
      if (fixed - posted + m * saved <= devices.memory) most = m;
      if (fixed + saved > devices.memory) continue;
      const double excess = plans.round_trip + (m - 1.0) * choice.work - within_;
      choice.least = static_cast<int>(std::min(1.0 + std::max(0.0, std::ceil(excess / choice.forward)), m));
      choice.most = static_cast<int>(std::min<double>(most, choice.end == layers_ ? 1 : deepest_));
      if (choice.least > choice.most) continue;
      fill(choices, plans, choice, with_time, price);
      if (std::any_of(choice.costs.begin(), choice.costs.end(), [](double cost) { return cost < kInfinity; })) {
        choices[first].push_back(choice);
      }
    }
  }

  void fill(const std::vector<std::vector<Choice>>& choices, const Plans& plans, Choice& choice, bool with_time,
            double price) const {
    const auto m = static_cast<double>(count_);
    const double own = price + (with_time ? choice.work : 0.0);
    choice.costs.assign(static_cast<std::size_t>(choice.most - choice.least) + 1, kInfinity);
    if (choice.end == layers_) choice.costs.front() = own;
    for (const Choice& next : choices[choice.end]) {
      const auto [forward, backward] = messages(choice.end, choice.of, next.of);
      if (m * std::max(forward, backward) > within_) continue;
      const double way = choice.work + next.work + forward + backward;
      for (int depth = choice.least; depth <= choice.most; ++depth) {
        for (int n = 2; n <= 4; ++n) {
          const int then = depth + 1 - n;
          if (then < next.least || then > next.most) continue;
          const double ways = std::floor((m - 1.0 - depth) / n) + 1.0;
          const double left = (m - 1.0 - ways * n) * (choice.work - choice.forward);
          if (plans.round_trip + ways * way + left > within_) continue;
          double& cost = choice.costs[depth - choice.least];
          cost = std::min(cost, own + (with_time ? forward + backward : 0.0) + next.costs[then - next.least]);
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
  std::vector<Class> classes_;
  std::vector<std::size_t> class_of_;  // [device]
  mutable std::map<std::pair<std::pair<Bytes, Bytes>, std::pair<std::size_t, std::size_t>>, std::pair<double, double>>
      messages_;
};

}  // namespace

std::string check_chains(const BoundProof::Chains& chains, const Profile& profile, const SearchOptions& options,
                         std::int64_t size, double within) {
  return ChainsCheck(profile, options, size, within).run(chains);
}

}  // namespace motley

#include "motley/partitioner/check_bound.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "motley/base/error.h"
#include "motley/partitioner/check_chains.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Sums in another order differ by less.
constexpr double kRounding = 1e-9;

double micro_batches(const SearchOptions& options, std::int64_t size) {
  const std::int64_t count = options.global_batch / size;
  return static_cast<double>(count);
}

/// The least of any range, after O(n log n).
class RangeMinimum {
 public:
  explicit RangeMinimum(std::vector<double> numbers) : levels_{std::move(numbers)} {
    for (std::size_t width = 1; 2 * width <= levels_[0].size(); width *= 2) {
      const std::vector<double>& below = levels_.back();
      std::vector<double> level(below.size() - width);
      for (std::size_t i = 0; i < level.size(); ++i) level[i] = std::min(below[i], below[i + width]);
      levels_.push_back(std::move(level));
    }
  }
  /// Over [first, last]; infinite for none.
  [[nodiscard]] double least(std::int64_t first, std::int64_t last) const {
    if (first > last) return kInfinity;
    const auto count = static_cast<std::uint64_t>(last - first + 1);
    const std::size_t level = 63 - static_cast<std::size_t>(__builtin_clzll(count));
    const auto& of = levels_[level];
    return std::min(of[static_cast<std::size_t>(first)],
                    of[static_cast<std::size_t>(last + 1) - (std::size_t{1} << level)]);
  }

 private:
  std::vector<std::vector<double>> levels_;
};

/// A stage that some device could have.
struct Window {
  double value;  // of its layers, at price 1
  double work, forward;
  double fixed, saved;  // bytes
  double posted;        // of fixed, bytes that are not there with every micro-batch in flight
};

struct DeviceClass {
  std::string type;
  std::string host;
  double memory;
  int count;
  double link;  // seconds a stage
};

struct Part {
  std::vector<DeviceClass> classes;
  double last_link = 0.0;
  int most_stages = 0;
};

class SizeCheck {
 public:
  SizeCheck(const BoundProof& proof, double time, const Profile& profile, const SearchOptions& options)
      : proof_(proof),
        profile_(profile),
        model_(profile.model),
        options_(options),
        index_(model_.size_index(proof.micro_batch_size)),
        layers_(static_cast<int>(model_.layers.size())),
        m_(micro_batches(options, proof.micro_batch_size)),
        after_(least_after()),
        within_(time - after_.all) {}

  std::vector<std::string> run() {
    if (proof_.chains) {
      const std::string wrong =
          check_chains(*proof_.chains, profile_, options_, proof_.micro_batch_size, within_, after_.update);
      if (!wrong.empty()) fail(wrong);
      return problems_;
    }
    if (!shape_is_right()) return problems_;
    total_value_ = std::accumulate(proof_.layer_values.begin(), proof_.layer_values.end(), 0.0);
    list_windows();
    for (Part& part : parts()) {
      if (part.most_stages < 2) continue;
      check_part(part);
    }
    return problems_;
  }

 private:
  void fail(const std::string& problem) {
    problems_.push_back(fmt::format("certificate.proofs (micro-batch size {}): {}", proof_.micro_batch_size, problem));
  }

  /// Seconds that every plan needs after its last backward, and the update in them that waits for all backwards.
  struct After {
    double all;
    double update;
  };
  [[nodiscard]] After least_after() const {
    double longest = 0.0;
    double shortest = kInfinity;
    for (int l = 0; l < layers_; ++l) {
      double least = kInfinity;
      for (const Device& device : profile_.cluster.devices) {
        least = std::min(least, model_.device(device.type).busy.update[l].value);
      }
      longest = std::max(longest, least);
      shortest = std::min(shortest, least);
    }
    const double overhead = profile_.cluster.action_overhead.value;
    if (!options_.clip) return {overhead + shortest, kInfinity};
    return {overhead + profile_.cluster.norm_exchange.value + longest, longest};
  }

  bool shape_is_right() {
    if (static_cast<int>(proof_.layer_values.size()) != layers_) {
      fail(fmt::format("layer_values: {} found, {} expected", proof_.layer_values.size(), layers_));
    }
    const auto is_price = [](double price) { return price >= 0.0 && price < kInfinity; };
    if (!std::all_of(proof_.layer_values.begin(), proof_.layer_values.end(), is_price)) {
      fail("layer_values: a number below 0 found");
    }
    if (proof_.rounds.empty() || proof_.rounds.back().round_trip) fail("rounds: none found that refutes");
    for (const BoundProof::Round& round : proof_.rounds) {
      for (const BoundProof::Table& table : round.tables) {
        if (!is_price(table.layer_price) || !is_price(table.second_price) || !is_price(table.above_s) ||
            !std::all_of(table.depths.begin(), table.depths.end(), is_price)) {
          fail("rounds: a price below 0 found");
          return false;
        }
      }
    }
    return problems_.empty();
  }

  /// Every stage that is not too long for some type: (1).
  void list_windows() {
    const double overhead = profile_.cluster.action_overhead.value;
    std::set<std::string> types;
    for (const Device& device : profile_.cluster.devices) types.insert(device.type);
    const double messages = std::min(2.0, m_);  // gradients posted ahead
    for (const std::string& type : types) {
      const DeviceTimes& times = model_.device(type).busy;
      std::vector<Window>& windows = windows_[type];
      for (int first = 0; first < layers_; ++first) {
        Window window{0.0, 2.0 * overhead, overhead, 0.0, 0.0, 0.0};
        if (first > 0) {
          window.posted =
              static_cast<double>(forward_bytes(model_.layers[first - 1].output, proof_.micro_batch_size).value);
        }
        double held = window.posted;
        for (int last = first; last < layers_; ++last) {
          const LayerProfile& layer = model_.layers[last];
          const LayerTimes& of = times.by_size[index_][last];
          window.value += proof_.layer_values[last];
          window.forward += of.forward.value;
          window.work += of.forward.value + of.backward.value;
          if (m_ * window.work > within_ * (1.0 + kRounding)) break;
          held += static_cast<double>((2 * layer.parameters + layer.optimizer_state).value);
          window.saved += static_cast<double>(layer.memory[index_].saved.value);
          window.fixed = held;
          if (last + 1 < layers_) {
            window.fixed += messages * static_cast<double>(backward_bytes(layer.output, proof_.micro_batch_size).value);
          }
          windows.push_back(window);
        }
      }
    }
  }

  /// (2), and for each class its cheapest link a stage.
  std::vector<Part> parts() const {
    const int devices = profile_.cluster.size();
    Bytes least_forward{std::numeric_limits<std::int64_t>::max()};
    Bytes least_backward = least_forward;
    for (int l = 0; l + 1 < layers_; ++l) {
      least_forward = std::min(least_forward, forward_bytes(model_.layers[l].output, proof_.micro_batch_size));
      least_backward = std::min(least_backward, backward_bytes(model_.layers[l].output, proof_.micro_batch_size));
    }
    std::vector<int> part_of(static_cast<std::size_t>(devices));
    std::iota(part_of.begin(), part_of.end(), 0);
    const auto root = [&](int d) {
      while (part_of[d] != d) d = part_of[d] = part_of[part_of[d]];
      return d;
    };
    const double most_message = within_ * (1.0 + kRounding) / m_;
    std::map<std::pair<std::string, std::string>, double> cheapest;  // by upstream and downstream host
    for (int from = 0; from < devices && layers_ > 1; ++from) {
      for (int to = 0; to < devices; ++to) {
        if (from == to) continue;
        const double f = profile_.cluster.links[from][to].time(least_forward).value;
        const double b = profile_.cluster.links[to][from].time(least_backward).value;
        if (std::max(f, b) > most_message) continue;
        part_of[root(from)] = root(to);
        const Device& a = profile_.cluster.devices[from];
        const Device& c = profile_.cluster.devices[to];
        const auto [entry, added] = cheapest.emplace(std::pair{a.host, c.host}, f + b);
        if (!added) entry->second = std::min(entry->second, f + b);
      }
    }
    std::map<int, std::map<std::tuple<std::string, std::string, std::int64_t>, int>> counts;
    for (int d = 0; d < devices; ++d) {
      const Device& device = profile_.cluster.devices[d];
      ++counts[root(d)][{device.host, device.type, (device.memory - model_.base_memory).value}];
    }
    std::vector<Part> all;
    for (const auto& [_, classes] : counts) {
      Part part;
      std::map<std::string, int> devices_of_host;
      for (const auto& [key, count] : classes) {
        const auto& [host, type, memory] = key;
        part.classes.push_back({type, host, static_cast<double>(memory), count, 0.0});
        devices_of_host[host] += count;
        part.most_stages += count;
      }
      part.most_stages = std::min(part.most_stages, most_stages(profile_, options_));
      for (DeviceClass& of : part.classes) {
        double outside = kInfinity;
        double inside = kInfinity;
        for (const auto& [other, _count] : devices_of_host) {
          const auto found = cheapest.find({of.host, other});
          if (found == cheapest.end()) continue;
          double& least = other == of.host ? inside : outside;
          least = std::min(least, found->second);
        }
        // Of a host's n <= N stages n - 1 at most have links inside it.
        of.link = std::min(inside, outside);
        if (inside < outside && outside < kInfinity) of.link += (outside - inside) / devices_of_host[of.host];
        if (of.link == kInfinity) of.link = 0.0;
        part.last_link =
            std::max({part.last_link, inside < kInfinity ? inside : 0.0, outside < kInfinity ? outside : 0.0});
      }
      all.push_back(std::move(part));
    }
    return all;
  }

  /// (5): the most micro-batches in flight; m if memory never binds, 0 if not one fits.
  [[nodiscard]] double deepest(const Window& window, const DeviceClass& of) const {
    if (window.fixed - window.posted + m_ * window.saved <= of.memory) return m_;
    if (window.fixed + window.saved > of.memory) return 0.0;
    return std::min(m_ - 1.0, std::floor((of.memory - window.fixed) / window.saved));
  }

  /// (3): the least warm-up.
  [[nodiscard]] double shallowest(const Window& window, double round_trip) const {
    const double excess = round_trip + (m_ - 1.0) * window.work - within_ * (1.0 + kRounding);
    return 1.0 + std::max(0.0, std::ceil(excess / window.forward));
  }

  /// D of the header.
  [[nodiscard]] double worth(const Part& part, const BoundProof::Table& table, double round_trip,
                             bool less_work) const {
    const auto count = static_cast<std::int64_t>(part.most_stages);
    std::vector<double> costs(static_cast<std::size_t>(count), 0.0);
    for (std::size_t j = 0; j < costs.size() && j < table.depths.size(); ++j) costs[j] = table.depths[j];
    double longest_depth = 0.0;
    for (const DeviceClass& of : part.classes) {
      for (const Window& window : windows_.at(of.type)) {
        if (window.work <= table.above_s || window.work > table.up_to_s) continue;
        const double depth = deepest(window, of);
        if (shallowest(window, round_trip) <= depth) longest_depth = std::max(longest_depth, depth);
      }
    }
    const auto longest = static_cast<std::int64_t>(std::min(longest_depth, static_cast<double>(count)));
    double sum = std::accumulate(costs.begin(), costs.end(), 0.0);
    if (table.second_price > 0.0) {
      sum += table.second_price * (within_ - round_trip - (m_ - static_cast<double>(longest)) * table.above_s);
    }
    const RangeMinimum cost(std::move(costs));
    for (const DeviceClass& of : part.classes) {
      double best = 0.0;
      for (const Window& window : windows_.at(of.type)) {
        if (window.work > table.up_to_s) continue;
        const double depth = deepest(window, of);
        const double least = shallowest(window, round_trip);
        if (least > depth) continue;
        double price = kInfinity;
        if (depth >= m_ || depth > static_cast<double>(count)) {
          price = 0.0;
        } else {
          const auto from = static_cast<std::int64_t>(least);
          const auto to = static_cast<std::int64_t>(depth);
          const double seconds = table.second_price * std::min(window.work, table.above_s);
          price = std::min(cost.least(from - 1, std::min(to, longest - 1) - 1) + seconds,
                           cost.least(std::max(from, longest) - 1, to - 1));
        }
        const double value = table.layer_price * window.value - (less_work ? window.work + of.link : 0.0);
        best = std::max(best, value - price);
      }
      sum += of.count * best;
    }
    return sum;
  }

  void check_part(const Part& part) {
    BoundProof::Table free;  // prices nothing: enough where the devices cannot hold the layers however they stand
    free.up_to_s = within_ / m_;
    double round_trip = 0.0;
    const auto refuted = [&](double worth_of_all, double layer_price) {
      return worth_of_all < layer_price * total_value_ * (1.0 - 0.5 * kRounding);
    };
    if (refuted(worth(part, free, 0.0, false), 1.0)) return;
    for (const BoundProof::Round& round : proof_.rounds) {
      if (round.round_trip) {
        double most = 0.0;
        for (const BoundProof::Table& table : round.tables) {
          BoundProof::Table whole = table;
          whole.above_s = whole.second_price = 0.0;
          whole.up_to_s = within_ / m_;
          most =
              std::max(most, table.layer_price * total_value_ - worth(part, whole, round_trip, true) - part.last_link);
        }
        round_trip = std::max(round_trip, most * (1.0 - kRounding));
        continue;
      }
      // The tables that refute must cover every length of the longest stage.
      double covered = 0.0;
      bool moved = true;
      while (covered < within_ / m_ && moved) {
        moved = false;
        for (const BoundProof::Table& table : round.tables) {
          if (table.above_s > covered || table.up_to_s <= covered) continue;
          if (!refuted(worth(part, table, round_trip, false), table.layer_price)) continue;
          covered = table.up_to_s * (1.0 + 1e-12);
          moved = true;
        }
      }
      if (covered >= within_ / m_ * (1.0 - 1e-12)) return;
      fail(fmt::format(
          "a plan on the {} devices about {} whose longest stage takes {:.6g} s or more a micro-batch is not refuted",
          part.most_stages, part.classes.front().host, covered));
      return;
    }
  }

  const BoundProof& proof_;
  const Profile& profile_;
  const ModelProfile& model_;
  const SearchOptions& options_;
  std::size_t index_;
  int layers_;
  double m_;
  After after_;
  double within_;  // T - U
  double total_value_ = 0.0;
  std::map<std::string, std::vector<Window>> windows_;  // by type
  std::vector<std::string> problems_;
};

/// The least time of one-stage plans that may fit, whatever the simulator adds.
double least_single_stage(const Profile& profile, const SearchOptions& options) {
  const ModelProfile& model = profile.model;
  double least = kInfinity;
  for (const std::int64_t size : micro_batch_sizes(model, options)) {
    const std::size_t index = model.size_index(size);
    Bytes held;
    for (const LayerProfile& layer : model.layers) {
      held += 2 * layer.parameters + layer.optimizer_state + layer.memory[index].saved;
    }
    for (const Device& device : profile.cluster.devices) {
      if (held + model.base_memory > device.memory) continue;
      const DeviceTimes& times = model.device(device.type).alone;
      double work = 2.0 * profile.cluster.action_overhead.value;
      for (const LayerTimes& layer : times.by_size[index]) work += layer.forward.value + layer.backward.value;
      double after = profile.cluster.action_overhead.value + (options.clip ? profile.cluster.norm_exchange.value : 0.0);
      for (const Seconds update : times.update) after += update.value;
      least = std::min(least, micro_batches(options, size) * work + after);
    }
  }
  return least;
}

}  // namespace

std::vector<std::string> check_bound(const Certificate& certificate, const Profile& profile,
                                     const SearchOptions& options) {
  std::vector<std::string> problems;
  const double time = certificate.proven_bound.value;
  if (!(time > 0.0)) return {fmt::format("certificate.proven_bound_s: {} found, more than 0 expected", time)};
  for (const std::string& schedule : options.schedules) {
    if (schedule != "1f1b") {
      return {fmt::format("certificate.proofs: prices prove nothing about schedule {}, expected 1f1b only", schedule)};
    }
  }
  if (const double single = least_single_stage(profile, options); time > single * (1.0 + kRounding)) {
    problems.push_back(
        fmt::format("certificate.proven_bound_s: {} found, but one device alone may take {} s", time, single));
  }
  if (most_stages(profile, options) < 2) return problems;
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    const auto found = std::find_if(certificate.proofs.begin(), certificate.proofs.end(),
                                    [&](const BoundProof& proof) { return proof.micro_batch_size == size; });
    if (found == certificate.proofs.end()) {
      problems.push_back(fmt::format("certificate.proofs: none found for micro-batch size {}", size));
      continue;
    }
    const std::vector<std::string> of_size = SizeCheck(*found, time, profile, options).run();
    problems.insert(problems.end(), of_size.begin(), of_size.end());
  }
  return problems;
}

}  // namespace motley

#include "motley/partitioner/check_pipelines.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "motley/partitioner/space.h"
#include "motley/plan/wire.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;  // sums in another order differ by less
constexpr std::size_t kKept = 4;
constexpr double kMostLinks = 2e7;  // looked up

struct Stage {
  double forward = 0.0;
  double gradient = 0.0;
  double work = 0.0;
  double update = 0.0;
};

/// What the stages behind one cost, as in the header.
struct Rest {
  double trip = 0.0;
  double gradient = 0.0;
  double end = 0.0;

  [[nodiscard]] bool is_no_better_than(const Rest& other) const {
    return trip >= other.trip && gradient >= other.gradient && end >= other.end;
  }
};

/// Rests of which none is better than another in everything.
class Rests {
 public:
  void add(const Rest& rest) {
    for (std::size_t i = 0; i < count_; ++i) {
      if (rest.is_no_better_than(rests_[i])) return;
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      if (!rests_[i].is_no_better_than(rest)) rests_[kept++] = rests_[i];
    }
    count_ = kept;
    rests_[count_++] = rest;
    if (count_ > kKept) join();
  }
  [[nodiscard]] const Rest* begin() const { return rests_.data(); }
  [[nodiscard]] const Rest* end() const { return rests_.data() + count_; }

 private:
  /// The two that lose least become one.
  void join() {
    std::size_t first = 0;
    std::size_t second = 1;
    double least = kInfinity;
    for (std::size_t i = 0; i < count_; ++i) {
      for (std::size_t j = i + 1; j < count_; ++j) {
        const double lost = std::abs(rests_[i].gradient - rests_[j].gradient) +
                            std::abs(rests_[i].end - rests_[j].end) + std::abs(rests_[i].trip - rests_[j].trip);
        if (lost >= least) continue;
        least = lost;
        first = i;
        second = j;
      }
    }
    const Rest &a = rests_[first], &b = rests_[second];
    const Rest both{std::min(a.trip, b.trip), std::min(a.gradient, b.gradient), std::min(a.end, b.end)};
    rests_[second] = rests_[--count_];
    rests_[first] = rests_[--count_];
    add(both);
  }

  std::array<Rest, kKept + 1> rests_;
  std::size_t count_ = 0;
};

/// Devices counted together.
struct Group {
  std::string type;
  std::vector<int> devices;
};

struct Messages {
  double forward = kInfinity;
  double backward = kInfinity;
};

class PipelinesOfASize {
 public:
  PipelinesOfASize(const Profile& profile, const SearchOptions& options, std::int64_t size, std::vector<Group> groups,
                   bool passes_apart)
      : profile_(profile),
        options_(options),
        size_(size),
        m_(static_cast<double>(options.global_batch) / static_cast<double>(size)),
        layers_(static_cast<int>(profile.model.layers.size())),
        wires_(allowed(options).wires),
        most_(static_cast<std::size_t>(most_stages(profile, options))),
        groups_(std::move(groups)),
        passes_apart_(passes_apart) {
    for (const Group& group : groups_) {
      stride_.push_back(codes_);
      codes_ *= group.devices.size() + 1;
    }
  }

  double least() {
    list_stages();
    list_messages();
    const auto width = static_cast<std::size_t>(layers_);
    rests_.resize(codes_ * groups_.size() * width);
    std::vector<std::size_t> used(groups_.size(), 0);
    for (std::size_t code = codes_; code-- > 1;) {
      std::size_t stages = 0;
      for (std::size_t g = 0; g < used.size(); ++g) {
        used[g] = code / stride_[g] % (groups_[g].devices.size() + 1);
        stages += used[g];
      }
      if (stages >= most_) continue;
      for (std::size_t last = 0; last < used.size(); ++last) {
        if (used[last] == 0) continue;
        for (int first = 1; first < layers_; ++first) look_behind(code, used, last, first);
      }
    }
    double least = kInfinity;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      for (int end = 1; end < layers_; ++end) {
        const Stage& stage = at(g, 0, end);
        const double after = stage.work - stage.forward - stage.gradient;
        for (const Rest& behind : rests(stride_[g], g, end)) {
          const double forwards = std::max(m_ * stage.forward, stage.forward + behind.trip);
          least = std::min(
              least, std::max({forwards + m_ * stage.gradient + after,
                               forwards + m_ * (stage.work - stage.forward) + own_update(stage),
                               stage.forward + stage.gradient + behind.gradient + after, stage.forward + behind.end}));
        }
      }
    }
    return least + after_all();
  }

 private:
  [[nodiscard]] Stage& at(std::size_t group, int first, int end) {
    const auto width = static_cast<std::size_t>(layers_);
    return stages_[(group * width + static_cast<std::size_t>(first)) * width + static_cast<std::size_t>(end) - 1];
  }
  [[nodiscard]] Messages& between(std::size_t before, std::size_t group, int cut) {
    return messages_[(static_cast<std::size_t>(cut) * groups_.size() + before) * groups_.size() + group];
  }
  [[nodiscard]] Rests& rests(std::size_t code, std::size_t last, int first) {
    return rests_[(code * groups_.size() + last) * static_cast<std::size_t>(layers_) + static_cast<std::size_t>(first)];
  }
  [[nodiscard]] double own_update(const Stage& stage) const { return options_.clip ? 0.0 : stage.update; }

  /// Norm exchange, and the layer whose update takes longest, where it is least.
  [[nodiscard]] double after_all() const {
    if (!options_.clip) return 0.0;
    double longest = 0.0;
    for (int layer = 0; layer < layers_; ++layer) {
      double least = kInfinity;
      for (const Group& group : groups_) {
        least = std::min(least, profile_.model.device(group.type).busy.update[static_cast<std::size_t>(layer)].value);
      }
      longest = std::max(longest, least);
    }
    return profile_.cluster.norm_exchange.value + longest + profile_.cluster.action_overhead.value;
  }

  /// The least that any allowed format of the message before layer `cut` takes from a device of the group.
  [[nodiscard]] double least_handling(const Group& group, int cut, Pass pass, TransferCurve Codec::*side) const {
    const Boundary& boundary = profile_.model.layers[static_cast<std::size_t>(cut) - 1].output;
    const auto& codecs = profile_.model.device(group.type).codecs;
    double least = kInfinity;
    for (const std::string& wire : wires_) {
      const auto codec = codecs.find(wire);
      least = std::min(least, codec == codecs.end()
                                  ? 0.0
                                  : (codec->second.*side).time(wire_bytes(boundary, size_, "float32", pass)).value);
    }
    return least;
  }

  /// What the messages before a layer take of a group's device: nothing before the first and behind the last.
  struct Handling {
    double activations_in = 0.0, activations_out = 0.0;
    double gradients_in = 0.0, gradients_out = 0.0;
  };

  void list_stages() {
    const ModelProfile& model = profile_.model;
    const double overhead = profile_.cluster.action_overhead.value;
    const std::size_t index = model.size_index(size_);
    const auto width = static_cast<std::size_t>(layers_);
    stages_.resize(groups_.size() * width * width);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const Group& group = groups_[g];
      const DeviceTimes& times = model.device(group.type).busy;
      std::vector<Handling> handling(width + 1);
      for (int cut = 1; cut < layers_; ++cut) {
        handling[static_cast<std::size_t>(cut)] = {least_handling(group, cut, Pass::Forward, &Codec::decode),
                                                   least_handling(group, cut, Pass::Forward, &Codec::encode),
                                                   least_handling(group, cut, Pass::Backward, &Codec::decode),
                                                   least_handling(group, cut, Pass::Backward, &Codec::encode)};
      }
      for (int first = 0; first < layers_; ++first) {
        const Handling& before = handling[static_cast<std::size_t>(first)];
        double forward = overhead + before.activations_in;
        double input = overhead + before.gradients_out;
        double whole = input;
        double weight = overhead;
        double update = overhead;
        for (int end = first + 1; end <= layers_; ++end) {
          const LayerTimes& of = times.by_size[index][static_cast<std::size_t>(end) - 1];
          forward += of.forward.value;
          input += of.backward_input.value;
          weight += of.backward_weight.value;
          whole += of.backward.value;
          update += times.update[static_cast<std::size_t>(end) - 1].value;
          const double ahead = handling[static_cast<std::size_t>(end)].activations_out;
          const double back = handling[static_cast<std::size_t>(end)].gradients_in;
          const double gradient = passes_apart_ ? std::min(input, whole) : whole;
          const double backward = passes_apart_ ? std::min(input + weight, whole) : whole;
          at(g, first, end) = {forward + ahead, gradient + back, forward + ahead + backward + back, update};
        }
      }
    }
  }

  void list_messages() {
    messages_.resize(static_cast<std::size_t>(layers_) * groups_.size() * groups_.size());
    for (int cut = 1; cut < layers_; ++cut) {
      const Boundary& boundary = profile_.model.layers[static_cast<std::size_t>(cut) - 1].output;
      Bytes ahead{std::numeric_limits<std::int64_t>::max()};
      Bytes back = ahead;
      for (const std::string& wire : wires_) {
        ahead = std::min(ahead, wire_bytes(boundary, size_, wire, Pass::Forward));
        back = std::min(back, wire_bytes(boundary, size_, wire, Pass::Backward));
      }
      for (std::size_t a = 0; a < groups_.size(); ++a) {
        for (std::size_t b = 0; b < groups_.size(); ++b) {
          Messages& least = between(a, b, cut);
          for (const int from : groups_[a].devices) {
            for (const int to : groups_[b].devices) {
              if (from == to) continue;
              const auto& links = profile_.cluster.links;
              least.forward = std::min(least.forward, links[from][to].time(ahead).value);
              least.backward = std::min(least.backward, links[to][from].time(back).value);
            }
          }
        }
      }
    }
  }

  /// Every next stage behind one on `last`, layers from `first` on, with devices used as `code` and `used` say.
  void look_behind(std::size_t code, const std::vector<std::size_t>& used, std::size_t last, int first) {
    static const Rest kNone;
    Rests& found = rests(code, last, first);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (used[g] == groups_[g].devices.size()) continue;
      const auto [f, b] = between(last, g, first);
      if (f == kInfinity || b == kInfinity) continue;  // no two of them have a link
      const double messages = (m_ - 1.0) * std::max(f, b);
      for (int end = first + 1; end <= layers_; ++end) {
        const Stage& stage = at(g, first, end);
        const Rest* behind = &kNone;
        const Rest* to = behind + 1;
        if (end < layers_) {
          const Rests& all = rests(code + stride_[g], g, end);
          behind = all.begin();
          to = all.end();
        }
        for (; behind != to; ++behind) {
          const double round = stage.forward + behind->trip + stage.gradient;
          const double forwards = std::max(m_ * stage.forward, stage.forward + behind->trip);
          found.add({f + round + b,
                     f + b +
                         std::max({forwards + m_ * stage.gradient, stage.forward + stage.gradient + behind->gradient,
                                   round + messages}),
                     f + std::max(forwards + m_ * (stage.work - stage.forward) + own_update(stage),
                                  stage.forward + behind->end)});
        }
      }
    }
  }

  const Profile& profile_;
  const SearchOptions& options_;
  std::int64_t size_;
  double m_;
  int layers_;
  std::vector<std::string> wires_;
  std::size_t most_;  // stages
  std::vector<Group> groups_;
  bool passes_apart_;
  std::vector<std::size_t> stride_;  // of a group in a code: the digits of a mixed radix
  std::size_t codes_ = 1;
  std::vector<Stage> stages_;       // [group][first][end - 1]
  std::vector<Messages> messages_;  // [cut][group before][group]
  std::vector<Rests> rests_;        // [code][group][first]
};

/// Each device for itself, or those alike in type and host, or in type: the finest that does not take too long. Empty:
/// each does.
std::vector<Group> groups_of(const Profile& profile) {
  const std::vector<Device>& devices = profile.cluster.devices;
  const auto layers = static_cast<double>(profile.model.layers.size());
  const auto links = layers * static_cast<double>(devices.size() * devices.size());
  if (links > kMostLinks) return {};
  for (const int fineness : {2, 1, 0}) {
    std::map<std::tuple<std::string, std::string, int>, Group> groups;
    for (int d = 0; d < profile.cluster.size(); ++d) {
      const Device& device = devices[static_cast<std::size_t>(d)];
      Group& group = groups[{device.type, fineness > 0 ? device.host : "", fineness > 1 ? d : 0}];
      group.type = device.type;
      group.devices.push_back(d);
    }
    double steps = static_cast<double>(groups.size() * groups.size()) * layers * layers * static_cast<double>(kKept);
    for (const auto& [key, group] : groups) steps *= static_cast<double>(group.devices.size() + 1);
    if (steps > kMostCheckedSteps) continue;
    std::vector<Group> found;
    for (auto& [key, group] : groups) found.push_back(std::move(group));
    return found;
  }
  return {};
}

/// The least of the plans with one stage.
double least_single(const Profile& profile, const SearchOptions& options, std::int64_t size) {
  const std::size_t index = profile.model.size_index(size);
  double least = kInfinity;
  for (const Device& device : profile.cluster.devices) {
    const DeviceTimes& times = profile.model.device(device.type).alone;
    double pass = 0.0;
    double update = 0.0;
    for (std::size_t layer = 0; layer < profile.model.layers.size(); ++layer) {
      const LayerTimes& of = times.by_size[index][layer];
      pass += of.forward.value + std::min(of.backward.value, of.backward_input.value + of.backward_weight.value);
      update += times.update[layer].value;
    }
    least = std::min(least, static_cast<double>(options.global_batch) / static_cast<double>(size) * pass + update +
                                (options.clip ? profile.cluster.norm_exchange.value : 0.0));
  }
  return least;
}

}  // namespace

std::optional<Seconds> least_pipeline(const Profile& profile, const SearchOptions& options, bool any_passes) {
  const Allowed may = allowed(options);
  if (options.objective != Objective::Iteration || may.replicas ||
      std::find(may.schedules.begin(), may.schedules.end(), "interleaved-1f1b") != may.schedules.end()) {
    return std::nullopt;
  }
  const std::vector<Group> groups = groups_of(profile);
  if (groups.empty()) return std::nullopt;
  const bool passes_apart =
      any_passes || std::find(may.schedules.begin(), may.schedules.end(), "zero-bubble") != may.schedules.end();
  double least = kInfinity;
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    least = std::min(least, least_single(profile, options, size));
    least = std::min(least, PipelinesOfASize(profile, options, size, groups, passes_apart).least());
  }
  return Seconds{least * (1.0 - kRounding)};
}

}  // namespace motley

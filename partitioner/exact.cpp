#include "motley/partitioner/exact.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "motley/base/error.h"
#include "motley/partitioner/closed_form.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"
#include "motley/partitioner/stage_tables.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Bounds and simulated times add the same numbers in another order; below this they are the same.
constexpr double kRounding = 1e-13;

/// The part of the space with one micro-batch size and one schedule, over the same devices.
class Corner {
 public:
  /// `fixed_stages` > 0: exactly that many stages, stage s on class s. Else `fewest` to `most` stages anywhere.
  Corner(const Profile& profile, std::int64_t size, std::int64_t global_batch, std::string schedule,
         const std::vector<std::vector<int>>& classes, int fewest, int most, bool fixed_order)
      : size_(size),
        micro_batches_(global_batch / size),
        schedule_(std::move(schedule)),
        gpipe_(schedule_ == "gpipe"),
        classes_(classes),
        tables_(profile, size, classes),
        fewest_(std::max(fewest, 2)),
        most_(most),
        fixed_order_(fixed_order) {
    std::size_t codes = 1;
    for (const std::vector<int>& members : classes_) {
      stride_.push_back(codes);
      if (codes < (std::size_t{1} << 40)) codes *= members.size() + 1;
    }
    const double layers = tables_.layers();
    const double classes_count = tables_.classes();
    if (static_cast<double>(codes) * classes_count * classes_count * layers * layers <= kMostTableWork) {
      codes_ = codes;
      build();
    }
  }

  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t micro_batches() const { return micro_batches_; }
  [[nodiscard]] const std::string& schedule() const { return schedule_; }
  [[nodiscard]] bool gpipe() const { return gpipe_; }
  [[nodiscard]] const std::vector<std::vector<int>>& classes() const { return classes_; }
  [[nodiscard]] const StageTables& tables() const { return tables_; }
  [[nodiscard]] std::size_t stride(int c) const { return stride_[c]; }
  [[nodiscard]] std::int64_t in_flight(int depth) const {
    return gpipe_ ? micro_batches_ : std::min<std::int64_t>(micro_batches_, depth);
  }

  /// Whether the stage with `placed` stages after it may be on class c, of which `used` devices are taken.
  [[nodiscard]] bool may_place(int placed, int c, int used) const {
    if (placed >= most_) return false;
    if (fixed_order_ && c != most_ - 1 - placed) return false;
    return used < static_cast<int>(classes_[c].size());
  }
  [[nodiscard]] bool may_end(int placed) const { return placed >= fewest_ && placed <= most_; }
  [[nodiscard]] bool fits(int c, int first, int end, int depth) const {
    return tables_.memory(first, end, in_flight(depth)) <= tables_.capacity(c);
  }

  /// Least round trip through layers [0, first) ahead of a node; infinite if none fits.
  [[nodiscard]] double round_trip(std::size_t code, int c, int first) const {
    return codes_ == 0 ? 0.0 : round_trip_[index(code, c, first)];
  }
  /// Least bottleneck of the stages of [0, first), from the start of the iteration.
  [[nodiscard]] double bottleneck(std::size_t code, int c, int first) const {
    return codes_ == 0 ? 0.0 : bottleneck_[index(code, c, first)];
  }

  /// The plan whose largest lack of memory is least by the same bound of memory (textbook depths), or none if the
  /// tables would be too large or no plan has the right number of stages.
  [[nodiscard]] std::optional<std::pair<std::vector<int>, std::vector<int>>> least_lack() const;

  /// Class by stage, in order, to devices: the lowest free one of each class.
  [[nodiscard]] std::vector<int> devices_of(const std::vector<int>& class_of_stage) const {
    std::vector<int> taken(classes_.size(), 0);
    std::vector<int> devices;
    for (const int c : class_of_stage) devices.push_back(classes_[c][taken[c]++]);
    return devices;
  }

 private:
  [[nodiscard]] std::size_t index(std::size_t code, int c, int first) const {
    return (code * tables_.classes() + c) * (tables_.layers() + 1) + first;
  }
  [[nodiscard]] int used(std::size_t code, int c) const {
    return static_cast<int>(code / stride_[c] % (classes_[c].size() + 1));
  }
  [[nodiscard]] int placed(std::size_t code) const {
    int sum = 0;
    for (int c = 0; c < tables_.classes(); ++c) sum += used(code, c);
    return sum;
  }

  /// Codes with more devices used are larger, so going down finds every completion known.
  void build() {
    const int layers = tables_.layers();
    round_trip_.assign(codes_ * tables_.classes() * (layers + 1), kInfinity);
    bottleneck_ = round_trip_;
    for (std::size_t code = codes_; code-- > 1;) {
      const int count = placed(code);
      for (int c = 0; c < tables_.classes(); ++c) {
        if (used(code, c) == 0) continue;
        if (may_end(count)) round_trip_[index(code, c, 0)] = bottleneck_[index(code, c, 0)] = 0.0;
        for (int end = 1; end < layers; ++end) complete(code, count, c, end);
      }
    }
  }

  void complete(std::size_t code, int count, int c, int end) {
    double least_trip = kInfinity;
    double least_bottleneck = kInfinity;
    const auto m = static_cast<double>(micro_batches_);
    for (int before = 0; before < tables_.classes(); ++before) {
      if (!may_place(count, before, used(code, before))) continue;
      const double send_forward = tables_.send_forward(before, c, end);
      const double send_backward = tables_.send_backward(before, c, end);
      const double messages = (m - 1) * std::max(send_forward, send_backward) + send_forward + send_backward;
      for (int first = end - 1; first >= 0; --first) {
        if (!fits(before, first, end, count + 1)) break;
        const std::size_t rest = index(code + stride_[before], before, first);
        if (round_trip_[rest] == kInfinity) continue;
        const double work = tables_.forward(before, first, end) + tables_.backward(before, first, end);
        least_trip = std::min(least_trip, work + send_forward + send_backward + round_trip_[rest]);
        least_bottleneck = std::min(
            least_bottleneck, std::max(round_trip_[rest] + std::max(m * work, work + messages), bottleneck_[rest]));
      }
    }
    round_trip_[index(code, c, end)] = least_trip;
    bottleneck_[index(code, c, end)] = least_bottleneck;
  }

  std::int64_t size_;
  std::int64_t micro_batches_;
  std::string schedule_;
  bool gpipe_;
  std::vector<std::vector<int>> classes_;
  StageTables tables_;
  int fewest_;
  int most_;
  bool fixed_order_;
  std::vector<std::size_t> stride_;
  std::size_t codes_ = 0;  // 0: no tables
  std::vector<double> round_trip_, bottleneck_;
};

std::optional<std::pair<std::vector<int>, std::vector<int>>> Corner::least_lack() const {
  if (codes_ == 0) return std::nullopt;
  struct Choice {
    std::int64_t lack = std::numeric_limits<std::int64_t>::max();
    int c = -1;
    int first = -1;
  };
  const int layers = tables_.layers();
  std::vector<Choice> choices(codes_ * tables_.classes() * (layers + 1));
  const auto lack = [&](int c, int first, int end, int depth) {
    return std::max<std::int64_t>(0, tables_.memory(first, end, in_flight(depth)) - tables_.capacity(c));
  };
  const auto extend = [&](Choice& best, std::size_t code, int count, int end) {
    for (int before = 0; before < tables_.classes(); ++before) {
      if (!may_place(count, before, used(code, before))) continue;
      for (int first = end - 1; first >= 0; --first) {
        const Choice& rest = choices[index(code + stride_[before], before, first)];
        const std::int64_t worst = std::max(rest.lack, lack(before, first, end, count + 1));
        if (worst < best.lack) best = {worst, before, first};
      }
    }
  };
  for (std::size_t code = codes_; code-- > 1;) {
    const int count = placed(code);
    for (int c = 0; c < tables_.classes(); ++c) {
      if (used(code, c) == 0) continue;
      if (may_end(count)) choices[index(code, c, 0)].lack = 0;
      for (int end = 1; end < layers; ++end) extend(choices[index(code, c, end)], code, count, end);
    }
  }
  Choice choice;
  extend(choice, 0, 0, layers);
  if (choice.c < 0) return std::nullopt;
  std::vector<int> cuts = {layers};
  std::vector<int> class_of_stage;
  for (std::size_t code = 0; cuts.back() > 0;) {
    code += stride_[choice.c];
    cuts.push_back(choice.first);
    class_of_stage.push_back(choice.c);
    choice = choices[index(code, choice.c, choice.first)];
  }
  std::reverse(cuts.begin(), cuts.end());
  std::reverse(class_of_stage.begin(), class_of_stage.end());
  return std::pair{cuts, devices_of(class_of_stage)};
}

/// One stage of a node, with what the header calls F, B, f, b, G, R and H.
struct Placed {
  int c = 0;
  int first = 0;
  int end = 0;
  int depth = 1;
  double forward = 0.0;
  double backward = 0.0;
  double send_forward = 0.0;
  double send_backward = 0.0;
  double first_backward = 0.0;
  double round_trip = 0.0;
  double height = 0.0;
  double update = 0.0;          // its own
  double longest_update = 0.0;  // of it and all after it
  double bound = 0.0;
};

class Search {
 public:
  Search(const Profile& profile, const SearchOptions& options)
      : profile_(profile), options_(options), candidates_(profile, options) {}

  SearchResult run() {
    const auto start = std::chrono::steady_clock::now();
    simulate_single_stages();
    make_corners();
    search();
    if (candidates_.best() == kInfinity) offer_least_lack();
    statistics_.solve = {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
    const double bound = std::min(open_bound_, candidates_.best());
    const double gap = bound > 0.0 ? candidates_.best() / bound - 1.0 : 0.0;
    return candidates_.result("exact", statistics_, Certificate{{bound}, gap, describe_space(profile_, options_)});
  }

 private:
  struct Root {
    std::size_t corner;
    Placed stage;
  };

  void simulate_single_stages() {
    if (fewest_stages(profile_, options_) > 1) return;
    const std::vector<int> cuts = {0, static_cast<int>(profile_.model.layers.size())};
    const std::vector<int> warm_up = {1};
    for (const std::int64_t size : micro_batch_sizes(profile_.model, options_)) {
      for (const std::string& schedule : options_.schedules) {
        for (const std::vector<int>& members : interchangeable_devices(profile_.cluster)) {
          if (!options_.any_order && members.front() != 0) continue;
          candidates_.offer(make_plan(cuts, std::span<const int>(&members.front(), 1), warm_up, size,
                                      options_.global_batch, schedule));
          spent_ += kExpansionsPerSimulation;
        }
      }
    }
  }

  void make_corners() {
    const int fewest = fewest_stages(profile_, options_);
    const int most = most_stages(profile_, options_);
    if (most < 2) return;
    for (const std::int64_t size : micro_batch_sizes(profile_.model, options_)) {
      for (const std::string& schedule : options_.schedules) {
        if (options_.any_order) {
          corners_.emplace_back(profile_, size, options_.global_batch, schedule,
                                interchangeable_devices(profile_.cluster), fewest, most, false);
          continue;
        }
        for (int stages = std::max(fewest, 2); stages <= most; ++stages) {
          std::vector<std::vector<int>> classes;
          for (int device = 0; device < stages; ++device) classes.push_back({device});
          corners_.emplace_back(profile_, size, options_.global_batch, schedule, classes, stages, stages, true);
        }
      }
    }
  }

  void search() {
    std::vector<Root> roots;
    for (std::size_t i = 0; i < corners_.size(); ++i) {
      corner_ = &corners_[i];
      const StageTables& tables = corner_->tables();
      for (int c = 0; c < tables.classes(); ++c) {
        if (!corner_->may_place(0, c, 0)) continue;
        for (int first = tables.layers() - 1; first >= 1; --first) {
          if (!corner_->fits(c, first, tables.layers(), 1)) break;
          Root root{i, {}};
          root.stage.c = c;
          root.stage.first = first;
          root.stage.end = tables.layers();
          measure(root.stage, nullptr, corner_->stride(c));
          if (root.stage.bound < kInfinity) roots.push_back(root);
        }
      }
    }
    std::stable_sort(roots.begin(), roots.end(),
                     [](const Root& a, const Root& b) { return a.stage.bound < b.stage.bound; });
    for (const Root& root : roots) {
      if (is_pruned(root.stage.bound)) break;
      corner_ = &corners_[root.corner];
      used_.assign(corner_->classes().size(), 0);
      stack_.assign(1, root.stage);
      used_[root.stage.c] = 1;
      expand(corner_->stride(root.stage.c));
    }
  }

  [[nodiscard]] bool is_pruned(double bound) const { return bound >= candidates_.best() * (1.0 - kRounding); }

  /// Fills in times and bound of a stage whose place is known; `code` counts it as used.
  void measure(Placed& stage, const Placed* next, std::size_t code) const {
    const StageTables& tables = corner_->tables();
    const auto m = static_cast<double>(corner_->micro_batches());
    const double f = stage.forward = tables.forward(stage.c, stage.first, stage.end);
    const double b = stage.backward = tables.backward(stage.c, stage.first, stage.end);
    const std::int64_t in_flight = corner_->in_flight(stage.depth);
    const auto w = static_cast<double>(in_flight);
    stage.update = stage.longest_update = tables.update(stage.c, stage.first, stage.end);
    double behind = 0.0;  // R'
    stage.first_backward = w * f;
    stage.height = 0.0;
    if (next != nullptr) {
      stage.send_forward = tables.send_forward(stage.c, next->c, stage.end);
      stage.send_backward = tables.send_backward(stage.c, next->c, stage.end);
      const double messages = stage.send_forward + stage.send_backward;
      behind = messages + next->round_trip;
      stage.first_backward =
          std::max(corner_->gpipe() ? m * f + behind : w * f, f + messages + next->first_backward + next->backward);
      stage.height = std::max(f + b + messages + next->height,
                              f + b + behind + (m - 1) * std::max(stage.send_forward, stage.send_backward));
      stage.longest_update = std::max(stage.update, next->longest_update);
    }
    stage.round_trip = f + b + behind;
    const auto whole_cycles = (corner_->micro_batches() - 1) / in_flight;
    const auto cycles = static_cast<double>(whole_cycles);
    stage.height = std::max({stage.height, stage.first_backward + (m - w) * f + m * b,
                             (cycles + 1) * stage.round_trip + (m - 1 - cycles * w) * b});
    stage.bound = std::max(stage.height + corner_->round_trip(code, stage.c, stage.first),
                           corner_->bottleneck(code, stage.c, stage.first)) +
                  (options_.clip ? profile_.cluster.norm_exchange.value + stage.longest_update : 0.0);
  }

  [[nodiscard]] bool is_exhausted() const { return spent_ >= options_.max_expansions; }

  void expand(std::size_t code) {
    const Placed next = stack_.back();
    if (is_exhausted()) {
      open_bound_ = std::min(open_bound_, next.bound);
      return;
    }
    ++spent_;
    ++statistics_.expansions;
    std::vector<Placed> children;
    const int placed = static_cast<int>(stack_.size());
    for (int c = 0; c < corner_->tables().classes(); ++c) {
      if (!corner_->may_place(placed, c, used_[c])) continue;
      for (int first = next.first - 1; first >= 0; --first) {
        if (first == 0 && !corner_->may_end(placed + 1)) break;
        if (!corner_->fits(c, first, next.first, next.depth + 1)) break;
        for (int extra = 0; extra <= (corner_->gpipe() ? 0 : kMostExtraWarmUp); ++extra) {
          Placed child;
          child.c = c;
          child.first = first;
          child.end = next.first;
          child.depth = next.depth + 1 + extra;
          if (!is_distinct_warm_up(next.depth, extra, corner_->micro_batches())) break;
          if (!corner_->fits(c, first, next.first, child.depth)) break;
          measure(child, &next, code + corner_->stride(c));
          if (!is_pruned(child.bound)) children.push_back(child);
        }
      }
    }
    std::stable_sort(children.begin(), children.end(),
                     [](const Placed& a, const Placed& b) { return a.bound < b.bound; });
    for (const Placed& child : children) {
      if (is_pruned(child.bound)) break;
      stack_.push_back(child);
      ++used_[child.c];
      if (child.first == 0) {
        finish();
      } else {
        expand(code + corner_->stride(child.c));
      }
      --used_[child.c];
      stack_.pop_back();
    }
  }

  /// A complete plan: simulated unless its longest path is already too long.
  void finish() {
    if (is_exhausted()) {
      open_bound_ = std::min(open_bound_, stack_.back().bound);
      return;
    }
    ++spent_;
    ++statistics_.expansions;
    flat_ = FlatPipeline{};
    flat_.micro_batches = static_cast<int>(corner_->micro_batches());
    flat_.gpipe = corner_->gpipe();
    for (auto stage = stack_.rbegin(); stage != stack_.rend(); ++stage) {
      flat_.forward.push_back(stage->forward);
      flat_.backward.push_back(stage->backward);
      flat_.update.push_back(stage->update);
      flat_.send_forward.push_back(stage->send_forward);
      flat_.send_backward.push_back(stage->send_backward);
      flat_.warm_up.push_back(stage->depth);
    }
    if (is_pruned(longest_path_.iteration(flat_, options_.clip, profile_.cluster.norm_exchange.value))) return;
    spent_ += kExpansionsPerSimulation;
    std::vector<int> cuts = {0};
    std::vector<int> class_of_stage;
    for (auto stage = stack_.rbegin(); stage != stack_.rend(); ++stage) {
      cuts.push_back(stage->end);
      class_of_stage.push_back(stage->c);
    }
    candidates_.offer(make_plan(cuts, corner_->devices_of(class_of_stage), flat_.warm_up, corner_->size(),
                                options_.global_batch, corner_->schedule()));
  }

  void offer_least_lack() {
    for (const Corner& corner : corners_) {
      const auto miss = corner.least_lack();
      if (!miss) continue;
      const auto& [cuts, devices] = *miss;
      candidates_.offer(make_plan(cuts, devices, textbook_warm_up(static_cast<int>(devices.size())), corner.size(),
                                  options_.global_batch, corner.schedule()));
    }
  }

  const Profile& profile_;
  const SearchOptions& options_;
  Candidates candidates_;
  std::vector<Corner> corners_;
  SearchStatistics statistics_;
  std::int64_t spent_ = 0;
  double open_bound_ = kInfinity;

  const Corner* corner_ = nullptr;  // of the node at hand
  std::vector<Placed> stack_;       // last stage first
  std::vector<int> used_;           // devices by class
  FlatPipeline flat_;
  LongestPath longest_path_;
};

}  // namespace

SearchResult plan_exact(const Profile& profile, const SearchOptions& options) {
  return Search(profile, options).run();
}

}  // namespace motley

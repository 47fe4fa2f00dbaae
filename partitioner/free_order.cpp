#include "motley/partitioner/free_order.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <numeric>

#include "motley/partitioner/space.h"
#include "motley/partitioner/stage_tables.h"

namespace motley {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kAlike = 1.0 - 1e-12;  // bounds add up in another order than the simulator's clock

/// The passes of a stage in seconds: I is what the stage before waits for, work what its device is busy with.
struct Passes {
  double forward = 0.0;
  double gradient = 0.0;  // min(I, B)
  double backward = 0.0;  // min(I + W, B)
  double update = 0.0;
};

/// The stages chosen so far, the last of them before layer `end`.
struct Node {
  int end = 0;
  int last = -1;        // class
  double up = 0.0;      // when the next stage could be sent its first micro-batch
  double down = 0.0;    // from the last gradient of the last stage chosen to the end
  double bound = 0.0;   // of the stages chosen
  double update = 0.0;  // the longest
};

class Search {
 public:
  Search(const Profile& profile, const SearchOptions& options, std::int64_t size, double ceiling_s,
         std::size_t asked_for, FreeOrders& found)
      : profile_(profile),
        options_(options),
        asked_for_(asked_for),
        found_(found),
        ceiling_(ceiling_s),
        size_(size),
        micro_batches_(static_cast<double>(micro_batches_of(options, size))),
        classes_(classes_of(profile, options)),
        fused_(profile, classes_, {.size = size, .shares = {size}, .apart = false}),
        apart_(profile, classes_, {.size = size, .shares = {size}, .apart = true}),
        layers_(fused_.layers()),
        most_(most_stages(profile, options)),
        fewest_(std::max(2, fewest_stages(profile, options))) {
    for (const std::vector<int>& members : classes_) left_.push_back(static_cast<int>(members.size()));
    const double norm_s = options.clip ? profile.cluster.norm_exchange.value : 0.0;
    after_ = norm_s;
  }

  void run(Clock::time_point start) {
    start_ = start;
    visit({});
  }

 private:
  static std::vector<std::vector<int>> classes_of(const Profile& profile, const SearchOptions& options) {
    if (options.any_order) return interchangeable_devices(profile.cluster);
    std::vector<std::vector<int>> each;
    for (int device = 0; device < profile.cluster.size(); ++device) each.push_back({device});
    return each;
  }

  static std::int64_t micro_batches_of(const SearchOptions& options, std::int64_t size) {
    return options.global_batch / size;
  }

  [[nodiscard]] Passes passes(int c, int first, int end) const {
    const double input = apart_.backward(c, 0, first, end);
    const double whole = fused_.backward(c, 0, first, end);
    return {fused_.forward(c, 0, first, end), std::min(input, whole),
            std::min(input + apart_.weight(c, 0, first, end), whole), fused_.update(c, first, end)};
  }

  /// Least seconds for a micro-batch's passes of layers [first, L) on what is left, shared at will: forwards and
  /// gradients alone, and all work.
  struct Remaining {
    double gradient = 0.0;
    double work = 0.0;
  };
  const std::vector<Remaining>& remaining() {
    const auto [place, fresh] = remaining_.try_emplace(left_);
    std::vector<Remaining>& sums = place->second;
    if (!fresh) return sums;
    double speeds = 0.0;
    std::vector<double> speed(left_.size(), 0.0);
    for (std::size_t c = 0; c < left_.size(); ++c) {
      const Passes whole = passes(static_cast<int>(c), 0, layers_);
      speed[c] = left_[c] > 0 ? 1.0 / (whole.forward + whole.backward) : 0.0;
      speeds += left_[c] * speed[c];
    }
    sums.assign(static_cast<std::size_t>(layers_) + 1, {});
    for (int layer = layers_; speeds > 0.0 && layer-- > 0;) {
      Remaining least{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
      for (std::size_t c = 0; c < left_.size(); ++c) {
        if (left_[c] == 0) continue;
        const Passes one = passes(static_cast<int>(c), layer, layer + 1);
        const double twice = 2.0 * fused_.overhead();  // per pass of a stage, not of a layer
        const double weight = speed[c] / speeds;
        least.gradient = std::min(least.gradient, weight * std::max(0.0, one.forward + one.gradient - twice));
        least.work = std::min(least.work, weight * std::max(0.0, one.forward + one.backward - twice));
      }
      const auto l = static_cast<std::size_t>(layer);
      sums[l] = {sums[l + 1].gradient + least.gradient, sums[l + 1].work + least.work};
    }
    return sums;
  }

  [[nodiscard]] double with_end(double bound, double update) const {
    return bound + after_ + (options_.clip ? update : 0.0);
  }

  /// The node with one stage more: layers [node.end, end) on class c.
  [[nodiscard]] Node extended(const Node& node, int c, int end) const {
    const Passes of = passes(c, node.end, end);
    const double m = micro_batches_;
    Node next;
    next.end = end;
    next.last = c;
    next.update = std::max(node.update, of.update);
    double start = 0.0;
    double down = of.backward - of.gradient;  // of the first stage: its last weight gradient
    double messages = 0.0;
    if (node.last >= 0) {
      const double f = fused_.transfer(Pass::Forward, node.last, c, node.end, size_, 0);
      const double b = fused_.transfer(Pass::Backward, c, node.last, node.end, size_, 0);
      start = node.up + f;
      down = node.down + b;
      messages = std::max(f, b);
    }
    const double own_update = options_.clip ? 0.0 : of.update;
    next.bound = std::max({node.bound, start + m * (of.forward + of.gradient) + down,
                           start + m * (of.forward + of.backward) + own_update,
                           start + of.forward + of.gradient + (m - 1.0) * messages + down});
    next.up = start + of.forward;
    next.down = down + of.gradient;
    return next;
  }

  /// At least this for whatever is put on the layers and devices left.
  [[nodiscard]] double completed(const Node& node) {
    const Remaining& rest = remaining()[static_cast<std::size_t>(node.end)];
    return std::max(
        {node.bound, node.up + micro_batches_ * rest.gradient + node.down, node.up + micro_batches_ * rest.work});
  }

  /// Of bounds that were not looked at further.
  void leave_open(double bound) { found_.lower_bound_s = std::min(found_.lower_bound_s, bound); }

  bool out_of_budget() {
    if (found_.complete &&
        (found_.expansions >= options_.max_expansions || (options_.stop != nullptr && *options_.stop) ||
         (options_.time_limit.value > 0.0 && found_.expansions % 1024 == 0 &&
          std::chrono::duration<double>(Clock::now() - start_).count() > options_.time_limit.value))) {
      found_.complete = false;
    }
    return !found_.complete;
  }

  void visit(const Node& node) {
    const int stages = static_cast<int>(chosen_.size());
    const bool final_one = stages + 1 == most_;
    for (std::size_t c = 0; c < left_.size(); ++c) {
      if (left_[c] == 0 || (!options_.any_order && static_cast<int>(c) != stages)) continue;
      for (int end = final_one ? layers_ : node.end + 1; end <= layers_; ++end) {
        if (end == layers_ && stages + 1 < fewest_) continue;
        const Node next = extended(node, static_cast<int>(c), end);
        ++found_.expansions;
        --left_[c];
        const double bound = with_end(end < layers_ ? completed(next) : next.bound, next.update);
        if (bound * kAlike < ceiling_) {
          if (out_of_budget()) {
            leave_open(bound);
          } else {
            chosen_.push_back({static_cast<int>(c), end});
            if (end == layers_) {
              keep(bound);
            } else {
              visit(next);
            }
            chosen_.pop_back();
          }
        }
        ++left_[c];
      }
    }
  }

  void keep(double bound) {
    leave_open(bound);
    std::vector<FreeOrder>& best = found_.best;
    if (best.size() == asked_for_ && bound >= best.back().lower_bound_s) return;
    FreeOrder order{bound, size_, {0}, {}};
    std::vector<std::size_t> next(classes_.size(), 0);
    for (const Choice& choice : chosen_) {
      order.cuts.push_back(choice.end);
      const auto c = static_cast<std::size_t>(choice.of_class);
      order.devices.push_back(classes_[c][next[c]++]);
    }
    const auto place = std::ranges::upper_bound(best, bound, {}, &FreeOrder::lower_bound_s);
    best.insert(place, std::move(order));
    if (best.size() > asked_for_) best.pop_back();
  }

  struct Choice {
    int of_class;
    int end;
  };

  const Profile& profile_;
  const SearchOptions& options_;
  std::size_t asked_for_;
  FreeOrders& found_;
  double ceiling_;
  std::int64_t size_;
  double micro_batches_;
  std::vector<std::vector<int>> classes_;
  StageTables fused_, apart_;
  int layers_;
  int most_;
  int fewest_;
  double after_ = 0.0;  // what follows the last pass of all ranks
  Clock::time_point start_;
  std::vector<int> left_;  // devices of each class
  std::vector<Choice> chosen_;
  std::map<std::vector<int>, std::vector<Remaining>> remaining_;  // by left_
};

}  // namespace

FreeOrders find_free_orders(const Profile& profile, const SearchOptions& options, double ceiling_s,
                            std::size_t asked_for) {
  FreeOrders found;
  found.lower_bound_s = ceiling_s;
  const auto start = Clock::now();
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    Search(profile, options, size, ceiling_s, asked_for, found).run(start);
  }
  return found;
}

}  // namespace motley

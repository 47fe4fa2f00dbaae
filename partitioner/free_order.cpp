#include "motley/partitioner/free_order.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "motley/partitioner/deadline.h"
#include "motley/partitioner/free_stages.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

constexpr double kAlike = 1.0 - 1e-12;  // bounds add up in another order than the simulator's clock
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The stages chosen so far, the last of them before layer `end`.
struct Node {
  int end = 0;
  int last = -1;         // class
  double up = 0.0;       // when the next stage could be sent its first micro-batch
  double down = 0.0;     // from the last gradient of the last stage chosen to the end
  double bound = 0.0;    // of the stages chosen
  double update = 0.0;   // the longest
  std::size_t code = 0;  // of the devices used
  FreeRest rest;         // nothing where that is not known
};

class Search {
 public:
  Search(const Profile& profile, const SearchOptions& options, std::int64_t size, double ceiling_s,
         std::size_t asked_for, const Deadline& deadline, FreeOrders& found)
      : profile_(profile),
        options_(options),
        asked_for_(asked_for),
        deadline_(deadline),
        found_(found),
        ceiling_(ceiling_s),
        size_(size),
        stages_(profile, options, size),
        rests_(stages_, profile, options),
        layers_(stages_.layers()),
        most_(most_stages(profile, options)),
        fewest_(std::max(2, fewest_stages(profile, options))),
        after_(options.clip ? profile.cluster.norm_exchange.value : 0.0) {
    for (const std::vector<int>& members : stages_.classes()) left_.push_back(static_cast<int>(members.size()));
  }

  void run() { visit({}); }

 private:
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
      const FreePasses whole = stages_.passes(static_cast<int>(c), 0, layers_);
      speed[c] = left_[c] > 0 ? 1.0 / (whole.forward + whole.backward) : 0.0;
      speeds += left_[c] * speed[c];
    }
    sums.assign(static_cast<std::size_t>(layers_) + 1, {});
    for (int layer = layers_; speeds > 0.0 && layer-- > 0;) {
      Remaining least{kInfinity, kInfinity};
      for (std::size_t c = 0; c < left_.size(); ++c) {
        if (left_[c] == 0) continue;
        const FreePasses one = stages_.passes(static_cast<int>(c), layer, layer + 1);
        const double twice = 2.0 * stages_.overhead();  // per pass of a stage, not of a layer
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

  /// The node with one stage more: layers [node.end, end) on class c, and behind it what `rest` says.
  [[nodiscard]] Node extended(const Node& node, int c, int end, const FreeRest& rest) const {
    const FreePasses& of = stages_.stage(c, node.end, end);
    const FreeMessages between = stages_.messages(node.last, c, node.end);
    const FreeDuration own = stages_.duration(of, between, rest.trip);
    const double start = node.up + between.forward;
    // Of the first stage: its last weight gradient.
    const double down = node.last < 0 ? of.backward - of.gradient : node.down + between.backward;
    Node next;
    next.end = end;
    next.last = c;
    next.up = start + of.forward;
    next.down = down + of.gradient;
    next.bound = std::max({node.bound, start + own.to_gradient + down, start + own.to_end});
    next.update = std::max(node.update, of.update);
    next.code = node.code + rests_.step(c);
    next.rest = rest;
    return next;
  }

  /// The least of all that can be behind layers [node.end, end) on class c; nothing where that is not known.
  [[nodiscard]] FreeRest least_behind(const Node& node, int c, int end) const {
    return rests_.known() && end < layers_ ? rests_.behind(node.code + rests_.step(c), c, end) : FreeRest{};
  }

  /// At least this for whatever is put on the layers and devices left.
  [[nodiscard]] double completed(const Node& node) {
    if (node.end == layers_) return node.bound;
    FreeRest rest = node.rest;
    if (!rests_.known()) {
      const Remaining& shared = remaining()[static_cast<std::size_t>(node.end)];
      rest = {0.0, stages_.micro_batches() * shared.gradient, stages_.micro_batches() * shared.work};
    }
    return std::max({node.bound, node.up + rest.to_gradient + node.down, node.up + rest.to_end});
  }

  /// Of bounds that were not looked at further.
  void leave_open(double bound) { found_.lower_bound_s = std::min(found_.lower_bound_s, bound); }

  bool out_of_budget() {
    if (found_.expansions >= options_.max_expansions || deadline_.has_passed()) found_.complete = false;
    return !found_.complete;
  }

  /// What cannot change what is found: the list is full of better ones, or the ceiling is below.
  [[nodiscard]] bool is_too_long(double bound) const {
    const double most =
        found_.best.size() < asked_for_ ? ceiling_ : std::min(ceiling_, found_.best.back().lower_bound_s);
    return bound * kAlike >= most;
  }

  struct Child {
    double bound;
    Node node;
  };

  /// One stage more, those with the least bounds first.
  std::vector<Child> children(const Node& node) {
    const int stages = static_cast<int>(chosen_.size());
    const bool final_one = stages + 1 == most_;
    std::vector<Child> found;
    for (std::size_t c = 0; c < left_.size(); ++c) {
      if (left_[c] == 0 || (!options_.any_order && static_cast<int>(c) != stages)) continue;
      --left_[c];
      for (int end = final_one ? layers_ : node.end + 1; end <= layers_; ++end) {
        if (end == layers_ && stages + 1 < fewest_) continue;
        ++found_.expansions;
        const int of_class = static_cast<int>(c);
        const Node next = extended(node, of_class, end, least_behind(node, of_class, end));
        const double bound = with_end(completed(next), next.update);
        if (!is_too_long(bound)) found.push_back({bound, next});
      }
      ++left_[c];
    }
    std::ranges::stable_sort(found, {}, &Child::bound);
    return found;
  }

  void visit(const Node& node) {
    for (const auto& [bound, next] : children(node)) {
      if (is_too_long(bound)) break;
      if (out_of_budget()) {
        leave_open(bound);
        break;
      }
      chosen_.push_back({next.last, next.end});
      --left_[static_cast<std::size_t>(next.last)];
      if (next.end == layers_) {
        keep();
      } else {
        visit(next);
      }
      ++left_[static_cast<std::size_t>(next.last)];
      chosen_.pop_back();
    }
  }

  /// Of the stages chosen, each with the round trip of those that are behind it.
  [[nodiscard]] double whole_bound() const {
    std::vector<double> trips(chosen_.size(), 0.0);
    for (std::size_t s = chosen_.size(); s-- > 1;) {
      const int first = chosen_[s - 1].end;
      const FreePasses& of = stages_.stage(chosen_[s].of_class, first, chosen_[s].end);
      const FreeMessages between = stages_.messages(chosen_[s - 1].of_class, chosen_[s].of_class, first);
      trips[s - 1] = between.forward + of.forward + trips[s] + of.gradient + between.backward;
    }
    Node node;
    for (std::size_t s = 0; s < chosen_.size(); ++s) {
      node = extended(node, chosen_[s].of_class, chosen_[s].end, {trips[s], 0.0, 0.0});
    }
    return with_end(node.bound, node.update);
  }

  void keep() {
    const double bound = whole_bound();
    leave_open(bound);
    if (is_too_long(bound)) return;
    FreeOrder order{bound, size_, {0}, {}};
    std::vector<std::size_t> next(stages_.classes().size(), 0);
    for (const Choice& choice : chosen_) {
      order.cuts.push_back(choice.end);
      const auto c = static_cast<std::size_t>(choice.of_class);
      order.devices.push_back(stages_.classes()[c][next[c]++]);
    }
    std::vector<FreeOrder>& best = found_.best;
    const auto alike =
        std::ranges::find_if(best, [&](const FreeOrder& other) { return differ_by_devices(order, other); });
    if (alike != best.end()) {
      if (alike->lower_bound_s <= bound) return;
      best.erase(alike);
    }
    const auto place = std::ranges::upper_bound(best, bound, {}, &FreeOrder::lower_bound_s);
    best.insert(place, std::move(order));
    if (best.size() > asked_for_) best.pop_back();
  }

  /// Whether they have the same stages on devices of the same types.
  [[nodiscard]] bool differ_by_devices(const FreeOrder& a, const FreeOrder& b) const {
    const std::vector<Device>& devices = profile_.cluster.devices;
    return a.micro_batch_size == b.micro_batch_size && a.cuts == b.cuts &&
           std::ranges::equal(
               a.devices, b.devices, {}, [&](int d) { return devices[static_cast<std::size_t>(d)].type; },
               [&](int d) { return devices[static_cast<std::size_t>(d)].type; });
  }

  struct Choice {
    int of_class;
    int end;
  };

  const Profile& profile_;
  const SearchOptions& options_;
  std::size_t asked_for_;
  const Deadline& deadline_;
  FreeOrders& found_;
  double ceiling_;
  std::int64_t size_;
  FreeStages stages_;
  FreeRests rests_;
  int layers_;
  int most_;
  int fewest_;
  double after_ = 0.0;     // what follows the last pass of all ranks
  std::vector<int> left_;  // devices of each class
  std::vector<Choice> chosen_;
  std::map<std::vector<int>, std::vector<Remaining>> remaining_;  // by left_
};

}  // namespace

FreeOrders find_free_orders(const Profile& profile, const SearchOptions& options, double ceiling_s,
                            std::size_t asked_for) {
  FreeOrders found;
  found.lower_bound_s = ceiling_s;
  const Deadline deadline(options.time_limit, options.stop);
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    Search(profile, options, size, ceiling_s, asked_for, deadline, found).run();
  }
  return found;
}

}  // namespace motley

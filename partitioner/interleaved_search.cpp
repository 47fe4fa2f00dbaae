#include "motley/partitioner/interleaved_search.h"

#include <algorithm>
#include <limits>

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
using Place = CrewOfClasses::Seat;

/// What a device of a group has to do in the stages known so far.
struct Load {
  double busy = 0.0;  // of a micro-batch
  double reduce = 0.0;
  double update = 0.0;
  std::int64_t resident = 0;
  std::int64_t kept = 0;        // at its first backward
  std::int64_t most_saved = 0;  // of a micro-batch in a stage
};

struct Group {
  const Team* team = nullptr;
  const CrewOfClasses* crew = nullptr;
};

struct Choice {
  int first = 0;
  int end = 0;
  bool recompute = false;
  int wire = 0;
};

/// The stages from one on.
struct Node {
  Choice choice;
  std::vector<double> trip;              // [seat]: round trip through it and all behind it
  std::vector<std::vector<Load>> loads;  // [group][seat]
  double busiest_channel = 0.0;
  double bound = 0.0;
};

class InterleavedSearch {
 public:
  /// `bound`: of every plan of the corner.
  InterleavedSearch(const Corner& corner, double bound, Exploration& exploration)
      : corner_(corner),
        tables_(corner.tables()),
        exploration_(exploration),
        corner_bound_(bound),
        m_(static_cast<double>(corner.micro_batches())) {}

  void run(const Group& last) {
    used_.assign(static_cast<std::size_t>(corner_.classes()), 0);
    add_group(last);
  }

 private:
  void add_group(const Group& group) {
    if (exploration_.is_exhausted()) {
      exploration_.leave_open(corner_bound_);
      return;
    }
    groups_.insert(groups_.begin(), group);
    for (std::size_t c = 0; c < used_.size(); ++c) used_[c] += group.team->count[c];
    const int count = static_cast<int>(groups_.size());
    if (count > 1 && corner_.may_end(used_) && can_interleave(count, corner_.micro_batches())) search_stages();
    if (corner_.may_go_on(count)) {
      for (const Team& team : corner_.teams()) {
        if (!corner_.may_place(used_, team)) continue;
        for (const CrewOfClasses& crew : team.crews) add_group({&team, &crew});
      }
    }
    for (std::size_t c = 0; c < used_.size(); ++c) used_[c] -= group.team->count[c];
    groups_.erase(groups_.begin());
  }

  [[nodiscard]] std::size_t group_of(int stage) const { return static_cast<std::size_t>(stage) % groups_.size(); }

  void search_stages() {
    const int layers = tables_.layers();
    usd_per_hour_ = 0.0;
    seats_ = 0;
    for (const Group& group : groups_) {
      usd_per_hour_ += group.crew->usd_per_hour;
      seats_ += group.crew->seats.size();
    }
    // Of layers [0, i): least round trip, and least work summed over the devices of a group.
    trip_ahead_.assign(1, 0.0);
    work_ahead_.assign(1, 0.0);
    for (int layer = 0; layer < layers; ++layer) {
      double least_trip = kInfinity;
      double least_work = kInfinity;
      for (const Group& group : groups_) {
        double work = 0.0;
        for (const Place& seat : group.crew->seats) {
          const double pass = tables_.forward(seat.c, seat.share, layer, layer + 1) +
                              tables_.backward(seat.c, seat.share, layer, layer + 1) - 2.0 * tables_.overhead();
          least_trip = std::min(least_trip, pass);
          work += pass;
        }
        least_work = std::min(least_work, work);
      }
      trip_ahead_.push_back(trip_ahead_.back() + least_trip);
      work_ahead_.push_back(work_ahead_.back() + least_work);
    }
    stages_.assign(1, Node{});  // behind the last stage
    Node& none = stages_.front();
    none.choice.first = layers;
    for (const Group& group : groups_) none.loads.emplace_back(group.crew->seats.size());
    none.bound = std::max(corner_bound_, bound(none, 0.0));
    if (exploration_.is_pruned(none.bound)) return;
    expand(static_cast<int>(groups_.size()) * corner_.rounds() - 1);
  }

  /// Chooses `stage` and all before it.
  void expand(int stage) {
    const Node next = stages_.back();
    if (!exploration_.enter(next.bound)) return;
    const bool last = stages_.size() == 1;
    const int end = next.choice.first;
    std::vector<Node> children;
    for (int first = stage == 0 ? 0 : end - 1; first >= stage; --first) {
      for (int again = 0; again <= (corner_.may_recompute() ? 1 : 0); ++again) {
        for (int wire = 0; wire < (last ? 1 : tables_.wires()); ++wire) {
          Node child;
          child.choice = {first, end, again > 0, wire};
          if (!measure(stage, next, child) || exploration_.is_pruned(child.bound)) continue;
          children.push_back(std::move(child));
        }
      }
    }
    std::stable_sort(children.begin(), children.end(), [](const Node& a, const Node& b) { return a.bound < b.bound; });
    for (Node& child : children) {
      if (exploration_.is_pruned(child.bound)) break;
      stages_.push_back(std::move(child));
      if (stage > 0) {
        expand(stage - 1);
      } else if (exploration_.enter(stages_.back().bound)) {
        exploration_.offer(plan());
      }
      stages_.pop_back();
    }
  }

  /// Micro-batches of a stage that its rank has begun before its first backward (interleaved_one_f_one_b).
  [[nodiscard]] std::int64_t begun(int stage) const {
    const auto ranks = static_cast<std::int64_t>(groups_.size());
    const std::int64_t m = corner_.micro_batches();
    const std::int64_t group = m / std::max<std::int64_t>(1, m / ranks);
    const std::int64_t rounds = corner_.rounds();
    const std::int64_t rank = static_cast<std::int64_t>(group_of(stage));
    const std::int64_t warm_up = std::min(m * rounds, (rounds - 1) * group + 2 * (ranks - 1 - rank) + 1);
    std::int64_t count = 0;
    for (std::int64_t k = 0; k < warm_up; ++k) count += k / group % rounds == stage / ranks ? 1 : 0;
    return count;
  }

  /// Fills in a stage before `next`. False where it does not fit.
  bool measure(int stage, const Node& next, Node& of) const {
    const CrewOfClasses& crew = *groups_[group_of(stage)].crew;
    const int first = of.choice.first;
    const int end = of.choice.end;
    of.loads = next.loads;
    of.busiest_channel = next.busiest_channel;
    std::vector<Load>& loads = of.loads[group_of(stage)];
    const double reduce = corner_.reduce(crew, first, end);
    const std::int64_t in_flight = begun(stage);
    double trip = 0.0;
    for (std::size_t i = 0; i < crew.seats.size(); ++i) {
      const Place& seat = crew.seats[i];
      const double forward = tables_.forward(seat.c, seat.share, first, end);
      const double backward = tables_.backward(seat.c, seat.share, first, end);
      of.trip.push_back(forward + backward + behind(stage, seat, next, of));
      trip = std::max(trip, of.trip.back());
      Load& load = loads[i];
      load.busy += forward + backward + (of.choice.recompute ? forward : 0.0);
      load.reduce += reduce;
      load.update += tables_.update(seat.c, first, end);
      load.resident += tables_.resident(first, end);
      load.kept += in_flight * tables_.kept(seat.share, first, end, of.choice.recompute);
      load.most_saved = std::max(load.most_saved, tables_.kept(seat.share, first, end, false));
      if (load.resident + std::max(load.kept, load.most_saved) > tables_.capacity(seat.c)) return false;
    }
    of.bound = bound(of, trip);
    return true;
  }

  /// From the end of a forward until its gradient is there.
  double behind(int stage, const Place& here, const Node& next, Node& of) const {
    if (next.trip.empty()) return 0.0;
    const std::vector<Place>& places = groups_[group_of(stage + 1)].crew->seats;
    const int cut = of.choice.end;
    const int wire = of.choice.wire;
    double longest = 0.0;
    for (std::size_t j = 0; j < places.size(); ++j) {
      const Place& there = places[j];
      const std::int64_t samples = std::min(here.end, there.end) - std::max(here.begin, there.begin);
      if (samples <= 0) continue;
      const double send = tables_.transfer(Pass::Forward, here.c, there.c, cut, samples, wire);
      const double answer = tables_.transfer(Pass::Backward, there.c, here.c, cut, samples, wire);
      of.busiest_channel = std::max(of.busiest_channel, m_ * std::max(send, answer));
      longest =
          std::max(longest, send + answer + next.trip[j] + tables_.encode(Pass::Forward, here.c, cut, samples, wire) +
                                tables_.decode(Pass::Forward, there.c, cut, samples, wire) +
                                tables_.encode(Pass::Backward, there.c, cut, samples, wire) +
                                tables_.decode(Pass::Backward, here.c, cut, samples, wire));
    }
    return longest;
  }

  [[nodiscard]] double bound(const Node& of, double trip) const {
    const SearchOptions& options = corner_.options();
    double end = trip + trip_ahead_[of.choice.first];
    double update = 0.0;
    double busiest = of.busiest_channel;
    double work = m_ * work_ahead_[of.choice.first];
    for (const std::vector<Load>& loads : of.loads) {
      for (const Load& load : loads) {
        const double own = m_ * load.busy + load.reduce;
        end = std::max(end, own + (options.clip ? 0.0 : load.update));
        update = std::max(update, load.update);
        busiest = std::max(busiest, own + load.update);
        work += m_ * load.busy;
      }
    }
    const double mean = work / static_cast<double>(seats_);
    if (options.objective == Objective::Bottleneck) return std::max(busiest, mean);
    end = std::max(end, mean) + (options.clip ? corner_.profile().cluster.norm_exchange.value + update : 0.0);
    if (options.objective == Objective::Iteration) return end;
    return end * usd_per_hour_ / 3600.0 / static_cast<double>(options.global_batch);
  }

  [[nodiscard]] Plan plan() const {
    std::vector<const CrewOfClasses*> crews;
    for (const Group& group : groups_) crews.push_back(group.crew);
    const std::vector<Crew> devices = corner_.devices_of(crews);
    std::vector<StageChoice> stages;
    const int count = static_cast<int>(stages_.size()) - 1;
    for (int s = 0; s < count; ++s) {
      const Choice& choice = stages_[static_cast<std::size_t>(count - s)].choice;
      stages.push_back({choice.end, devices[group_of(s)], count - s, choice.recompute,
                        tables_.wire_names()[static_cast<std::size_t>(choice.wire)]});
    }
    return make_plan(stages, corner_.size(), corner_.options().global_batch, corner_.schedule());
  }

  const Corner& corner_;
  const StageTables& tables_;
  Exploration& exploration_;
  double corner_bound_;
  double m_;
  std::vector<Group> groups_;
  std::vector<int> used_;  // devices by class
  std::size_t seats_ = 0;
  double usd_per_hour_ = 0.0;
  std::vector<double> trip_ahead_, work_ahead_;  // [layers]
  std::vector<Node> stages_;                     // last first, behind an empty one
};

/// Below the objective of every plan of the corner: each layer where it takes least, and all work spread over all
/// devices.
double bound_corner(const Corner& corner) {
  const StageTables& tables = corner.tables();
  double trip = 0.0;
  double work = 0.0;  // of a micro-batch, summed over devices
  for (int layer = 0; layer < tables.layers(); ++layer) {
    double least_trip = kInfinity;
    double least_per_sample = kInfinity;
    for (int c = 0; c < corner.classes(); ++c) {
      for (int share = 0; share < tables.shares(); ++share) {
        const double pass = tables.forward(c, share, layer, layer + 1) + tables.backward(c, share, layer, layer + 1) -
                            2.0 * tables.overhead();
        least_trip = std::min(least_trip, pass);
        least_per_sample = std::min(least_per_sample, pass / static_cast<double>(tables.samples(share)));
      }
    }
    trip += least_trip;
    work += least_per_sample * static_cast<double>(corner.size());
  }
  const double mean = static_cast<double>(corner.micro_batches()) * work / corner.profile().cluster.size();
  const SearchOptions& options = corner.options();
  switch (options.objective) {
    case Objective::Bottleneck:
      return mean;
    case Objective::Cost: {
      double usd_per_hour = kInfinity;  // of the cheapest device
      for (int c = 0; c < corner.classes(); ++c) usd_per_hour = std::min(usd_per_hour, tables.usd_per_hour(c));
      return std::max(trip, mean) * usd_per_hour / 3600.0 / static_cast<double>(options.global_batch);
    }
    default:
      return std::max(trip, mean);
  }
}

class InterleavedSubtree : public Subtree {
 public:
  InterleavedSubtree(const Corner& corner, const Group& last, double bound)
      : corner_(corner), last_(last), bound_(bound) {}

  [[nodiscard]] double bound() const override { return bound_; }
  [[nodiscard]] Explored explore(double best, std::int64_t allowance, const Deadline& deadline) const override {
    Exploration exploration(corner_.profile(), corner_.options(), best, allowance, deadline);
    if (!exploration.is_pruned(bound_)) InterleavedSearch(corner_, bound_, exploration).run(last_);
    return exploration.take();
  }

 private:
  const Corner& corner_;
  Group last_;
  double bound_;
};

}  // namespace

void add_interleaved_subtrees(const Corner& corner, std::vector<std::unique_ptr<Subtree>>& out) {
  const std::vector<int> none(static_cast<std::size_t>(corner.classes()), 0);
  const double bound = bound_corner(corner);
  for (const Team& team : corner.teams()) {
    if (!corner.may_place(none, team) || !corner.may_go_on(1)) continue;
    for (const CrewOfClasses& crew : team.crews) {
      out.push_back(std::make_unique<InterleavedSubtree>(corner, Group{&team, &crew}, bound));
    }
  }
}

}  // namespace motley

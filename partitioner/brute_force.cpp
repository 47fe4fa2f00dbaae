#include "motley/partitioner/brute_force.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "motley/base/error.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

using Visit = std::function<bool(Plan)>;  // returns whether to go on

/// Plain nested loops over what space.h says, one choice after the other.
class Enumeration {
 public:
  Enumeration(const Profile& profile, const SearchOptions& options, Visit visit)
      : profile_(profile), options_(options), may_(allowed(options)), visit_(std::move(visit)) {}

  bool run() {
    for (const std::int64_t size : micro_batch_sizes(profile_.model, options_)) {
      size_ = size;
      crews_ = crews(profile_.model, options_, std::vector<int>(profile_.cluster.devices.size(), 1), size);
      for (const std::string& schedule : may_.schedules) {
        schedule_ = schedule;
        const bool interleaved = schedule == "interleaved-1f1b";
        for (int rounds = interleaved ? 2 : 1; rounds <= (interleaved ? options_.max_rounds : 1); ++rounds) {
          rounds_ = rounds;
          groups_.clear();
          used_.assign(profile_.cluster.devices.size(), false);
          if (!choose_groups()) return false;
        }
      }
    }
    return true;
  }

 private:
  [[nodiscard]] bool may_follow(const Crew& crew) const {
    int next = static_cast<int>(std::count(used_.begin(), used_.end(), true));
    for (const Seat& seat : crew) {
      if (used_[seat.device]) return false;
      if (!options_.any_order && seat.device != next++) return false;
    }
    return true;
  }

  bool choose_groups() {
    const int stages = static_cast<int>(groups_.size()) * rounds_;
    const bool all_used = std::find(used_.begin(), used_.end(), false) == used_.end();
    const int groups = static_cast<int>(groups_.size());
    if (groups >= (rounds_ > 1 ? 2 : 1) && (!options_.use_all_devices || all_used) &&
        (rounds_ == 1 || can_interleave(groups, options_.global_batch / size_))) {
      stages_.assign(static_cast<std::size_t>(stages), {});
      for (int s = 0; s < stages; ++s) stages_[s].crew = groups_[s % groups];
      if (!choose_cuts(0, 0)) return false;
    }
    const int layers = static_cast<int>(profile_.model.layers.size());
    const int most = options_.max_stages > 0 ? std::min(options_.max_stages, layers) : layers;
    if (stages + rounds_ > most) return true;
    for (const Crew& crew : crews_) {
      if (!may_follow(crew)) continue;
      for (const Seat& seat : crew) used_[seat.device] = true;
      groups_.push_back(crew);
      const bool go_on = choose_groups();
      groups_.pop_back();
      for (const Seat& seat : crew) used_[seat.device] = false;
      if (!go_on) return false;
    }
    return true;
  }

  bool choose_cuts(std::size_t stage, int first) {
    const int layers = static_cast<int>(profile_.model.layers.size());
    const int left = static_cast<int>(stages_.size() - stage) - 1;
    if (left == 0) {
      stages_[stage].end = layers;
      return choose_recompute(0);
    }
    for (int end = first + 1; end <= layers - left; ++end) {
      stages_[stage].end = end;
      if (!choose_cuts(stage + 1, end)) return false;
    }
    return true;
  }

  bool choose_recompute(std::size_t stage) {
    if (stage == stages_.size()) return choose_wires(0);
    for (const bool recompute : {false, true}) {
      if (recompute && !may_.recompute) continue;
      stages_[stage].recompute = recompute;
      if (!choose_recompute(stage + 1)) return false;
    }
    return true;
  }

  bool choose_wires(std::size_t stage) {
    if (stage + 1 == stages_.size()) return choose_warm_up();
    for (const std::string& wire : may_.wires) {
      stages_[stage].wire = wire;
      if (!choose_wires(stage + 1)) return false;
    }
    return true;
  }

  bool choose_warm_up() {
    const int stages = static_cast<int>(stages_.size());
    for (const std::vector<int>& depths : warm_ups(schedule_, stages, options_.global_batch / size_)) {
      for (int s = 0; s < stages; ++s) stages_[s].warm_up = depths[s];
      if (!visit_(make_plan(stages_, size_, options_.global_batch, schedule_))) return false;
    }
    return true;
  }

  const Profile& profile_;
  const SearchOptions& options_;
  Allowed may_;
  Visit visit_;
  std::int64_t size_ = 0;
  std::string schedule_;
  int rounds_ = 1;
  std::vector<Crew> crews_;
  std::vector<Crew> groups_;
  std::vector<bool> used_;
  std::vector<StageChoice> stages_;
};

}  // namespace

std::int64_t count_plans(const Profile& profile, const SearchOptions& options) {
  static_cast<void>(fewest_stages(profile, options));
  std::int64_t count = 0;
  Enumeration(profile, options, [&](const Plan&) { return ++count <= kMostBruteForcePlans; }).run();
  return count;
}

SearchResult plan_brute_force(const Profile& profile, const SearchOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t count = count_plans(profile, options);
  if (count > kMostBruteForcePlans) {
    throw InputError::of("planner brute-force: more than {} plans found, at most that many expected; use exact",
                         kMostBruteForcePlans);
  }
  if (count == 0) throw InputError("planner brute-force: the options leave no plan");
  Candidates candidates(profile, options);
  Enumeration(profile, options, [&](Plan plan) {
    candidates.offer(std::move(plan));
    return true;
  }).run();
  SearchStatistics statistics;
  statistics.expansions = candidates.simulated();
  statistics.solve = {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  std::optional<Certificate> certificate;
  if (const Plan* best = candidates.best_plan()) {
    certificate = certify(*best->prediction, options.objective, candidates.best(), describe_space(profile, options));
  }
  return candidates.result("brute-force", statistics, std::move(certificate));
}

}  // namespace motley

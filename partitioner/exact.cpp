#include "motley/partitioner/exact.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <thread>
#include <utility>

#include "motley/base/error.h"
#include "motley/partitioner/interleaved_search.h"
#include "motley/partitioner/pipeline_search.h"
#include "motley/partitioner/space.h"
#include "motley/partitioner/subtree.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A subtree that waits for its turn.
struct Waiting {
  std::unique_ptr<Subtree> subtree;
  double bound;
  std::int64_t allowance;
};

class Search {
 public:
  Search(const Profile& profile, const SearchOptions& options)
      : profile_(profile),
        options_(options),
        deadline_(options.time_limit, options.stop),
        candidates_(profile, options),
        threads_(options.threads > 0 ? static_cast<std::size_t>(options.threads)
                                     : std::max<std::size_t>(1, std::thread::hardware_concurrency())) {}

  SearchResult run() {
    offer_single_devices();
    corners_ = corners(profile_, options_);
    plant();
    while (!waiting_.empty() && !is_near_enough() && !is_over()) search_round();
    const double open_bound = waiting_.empty() ? kInfinity : waiting_.front().bound;
    statistics_.complete = waiting_.empty() || is_near_enough();
    if (candidates_.best() == kInfinity) offer_least_lack();
    if (candidates_.simulated() == 0) throw InputError("planner exact: the options leave no plan");
    simplify_best();
    statistics_.solve = deadline_.elapsed();
    std::optional<Certificate> certificate;
    if (const Plan* best = candidates_.best_plan()) {
      certificate = certify(*best->prediction, options_.objective, std::min(open_bound, candidates_.best()),
                            describe_space(profile_, options_));
    }
    return candidates_.result("exact", statistics_, std::move(certificate));
  }

 private:
  /// One stage on one device has times of its own: those of a device alone.
  void offer_single_devices() {
    if (options_.use_all_devices && profile_.cluster.size() > 1) return;
    const Allowed may = allowed(options_);
    const int layers = static_cast<int>(profile_.model.layers.size());
    for (const std::int64_t size : micro_batch_sizes(profile_.model, options_)) {
      for (const std::string& schedule : may.schedules) {
        if (schedule == "interleaved-1f1b") continue;
        for (const std::vector<int>& members : interchangeable_devices(profile_.cluster)) {
          if (!options_.any_order && members.front() != 0) continue;
          for (int again = 0; again <= (may.recompute ? 1 : 0); ++again) {
            const std::vector<StageChoice> stage = {{layers, {{members.front(), size}}, 1, again > 0, "float32"}};
            candidates_.offer(make_plan(stage, size, options_.global_batch, schedule));
            spent_ += Exploration::kExpansionsPerSimulation;
          }
        }
      }
    }
  }

  /// Sets up every subtree, the most promising first.
  void plant() {
    std::vector<std::unique_ptr<Subtree>> subtrees;
    completions_.reserve(corners_.size());
    for (const Corner& corner : corners_) {
      if (corner.rounds() > 1) {
        add_interleaved_subtrees(corner, subtrees);
      } else {
        completions_.push_back(std::make_unique<Completions>(corner));
        add_pipeline_subtrees(corner, *completions_.back(), subtrees);
      }
    }
    for (std::unique_ptr<Subtree>& subtree : subtrees) {
      const double bound = subtree->bound();
      waiting_.push_back({std::move(subtree), bound, kFirstAllowance});
    }
    sort_waiting();
  }

  void sort_waiting() {
    std::stable_sort(waiting_.begin(), waiting_.end(),
                     [](const Waiting& a, const Waiting& b) { return a.bound < b.bound; });
    // What cannot be better than the best is done with.
    const auto done = std::find_if(waiting_.begin(), waiting_.end(), [this](const Waiting& waiting) {
      return waiting.bound >= candidates_.best() * (1.0 - kRounding);
    });
    waiting_.erase(done, waiting_.end());
  }

  /// Of the best plan, by what subtrees that wait (the least bound first) could still hold.
  [[nodiscard]] bool is_near_enough() const {
    return options_.gap > 0.0 && !waiting_.empty() &&
           candidates_.best() <= waiting_.front().bound * (1.0 + options_.gap);
  }

  [[nodiscard]] bool is_over() const { return spent_ >= options_.max_expansions || deadline_.has_passed(); }

  /// Searches the first few subtrees; more of them with every round.
  void search_round() {
    const std::size_t count = std::min(round_, waiting_.size());
    round_ = std::min(2 * round_, kMostSubtreesOfRound);
    const std::int64_t share =
        std::max<std::int64_t>(1, (options_.max_expansions - spent_) / static_cast<std::int64_t>(count));
    const double best = candidates_.best();
    std::vector<std::optional<Explored>> results(count);
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next++; i < count; i = next++) {
        results[i].emplace(waiting_[i].subtree->explore(best, std::min(share, waiting_[i].allowance), deadline_));
      }
    };
    {
      std::vector<std::jthread> helpers;
      const std::size_t wanted = spent_ < kFirstAllowance ? 1 : std::min(threads_, count);  // a thread costs a while
      for (std::size_t t = 1; t < wanted; ++t) helpers.emplace_back(work);
      work();
    }
    std::vector<Waiting> again;
    for (std::size_t i = 0; i < count; ++i) {
      statistics_.expansions += results[i]->expansions;
      spent_ += results[i]->spent;
      candidates_.merge(std::move(results[i]->found));
      if (results[i]->open_bound < kInfinity) {
        waiting_[i].bound = std::max(waiting_[i].bound, results[i]->open_bound);
        waiting_[i].allowance *= 2;
        again.push_back(std::move(waiting_[i]));
      }
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
    waiting_.insert(waiting_.end(), std::make_move_iterator(again.begin()), std::make_move_iterator(again.end()));
    sort_waiting();
    if (options_.progress) {
      const double bound = waiting_.empty() ? candidates_.best() : std::min(waiting_.front().bound, candidates_.best());
      options_.progress({statistics_.expansions, candidates_.best(), bound, deadline_.elapsed()});
    }
  }

  void offer_least_lack() {
    for (const Corner& corner : corners_) {
      if (corner.rounds() > 1) continue;
      if (std::optional<Plan> plan = least_lack(corner)) candidates_.offer(std::move(*plan));
    }
  }

  /// Takes out of the best plan what it is not better for: recomputation, and wire formats that round.
  void simplify_best() {
    if (candidates_.best_plan() == nullptr) return;
    const auto try_without = [&](const auto& change) {
      Plan plan = *candidates_.best_plan();
      if (!change(plan)) return;
      plan.prediction.reset();
      Priced priced = price(plan, profile_, options_.clip);
      if (priced.shortfall || value_of(priced.prediction, options_.objective) > candidates_.best()) return;
      plan.prediction = std::move(priced.prediction);
      candidates_.replace_best(std::move(plan));
    };
    for (std::size_t s = 0; s < candidates_.best_plan()->stages.size(); ++s) {
      try_without([s](Plan& plan) { return std::exchange(plan.stages[s].recompute, false); });
      try_without([s](Plan& plan) { return std::exchange(plan.stages[s].wire, "float32") != "float32"; });
    }
  }

  const Profile& profile_;
  const SearchOptions& options_;
  Deadline deadline_;
  Candidates candidates_;
  std::size_t threads_;
  std::vector<Corner> corners_;
  std::vector<std::unique_ptr<Completions>> completions_;
  std::vector<Waiting> waiting_;  // by bound
  std::size_t round_ = 1;
  std::int64_t spent_ = 0;
  SearchStatistics statistics_;
};

}  // namespace

SearchResult plan_exact(const Profile& profile, const SearchOptions& options) {
  return Search(profile, options).run();
}

}  // namespace motley

#include "motley/partitioner/tailored.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "motley/base/error.h"
#include "motley/partitioner/baselines.h"
#include "motley/partitioner/deadline.h"
#include "motley/partitioner/exact.h"
#include "motley/partitioner/free_order.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"
#include "motley/schedule/tailor.h"

namespace motley {
namespace {

constexpr std::int64_t kQuick = 150;  // evaluations: the list schedules, without a local search to speak of
constexpr std::int64_t kThorough = 6'000;
constexpr std::int64_t kFirstShare = 8;  // of the budget, for a plan to beat
constexpr double kNearEnough = 1e-3;     // gap of a tailored plan that "exact" is no longer asked to beat

/// `plan`'s stages, devices and micro-batches under a schedule made for them; nothing where none fits in memory.
std::optional<Plan> tailored(const Plan& plan, const Profile& profile, const SearchOptions& options,
                             std::int64_t evaluations) {
  std::vector<int> ranks;
  for (const StagePlan& stage : plan.stages) ranks.push_back(stage.replicas.front().device);
  TailorOptions tailor;
  tailor.micro_batches = static_cast<int>(plan.micro_batches);
  tailor.clip = options.clip;
  tailor.evaluations = evaluations;
  for (const Device& device : profile.cluster.devices) tailor.memory.push_back(device.memory);
  const Tailored made = tailor_schedule(costs_of(plan, profile), ranks, profile.cluster.size(), tailor);
  if (!made.fits) return std::nullopt;
  Plan listed = plan;
  listed.schedule = "listed";
  listed.actions = csv_rows(made.compute);
  for (StagePlan& stage : listed.stages) stage.warm_up = 0;
  listed.prediction = price(listed, profile, options.clip).prediction;
  return listed;
}

/// body(i) for every i below `count`, on several threads.
template <typename Body>
void in_parallel(std::size_t count, int threads, const Body& body) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < threads && static_cast<std::size_t>(t) < count; ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
}

/// All of `plans` tailored, best first; those that fit.
std::vector<Plan> all_tailored(const std::vector<Plan>& plans, const Profile& profile, const SearchOptions& options,
                               std::int64_t evaluations) {
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  std::vector<std::optional<Plan>> made(plans.size());
  in_parallel(plans.size(), threads,
              [&](std::size_t i) { made[i] = tailored(plans[i], profile, options, evaluations); });
  std::vector<Plan> fitting;
  for (std::optional<Plan>& plan : made) {
    if (plan) fitting.push_back(std::move(*plan));
  }
  std::ranges::stable_sort(fitting, {}, [](const Plan& plan) { return plan.prediction->iteration.value; });
  return fitting;
}

class Search {
 public:
  Search(const Profile& profile, const SearchOptions& options)
      : profile_(profile),
        options_(options),
        named_(options),
        deadline_(options.time_limit, options.stop),
        candidates_(profile, options) {
    named_.schedules = {"1f1b", "gpipe", "zero-bubble"};
    named_.allow = {};
  }

  SearchResult run() {
    SearchResult to_beat = exact(std::max<std::int64_t>(1, options_.max_expansions / kFirstShare));
    if (std::holds_alternative<Infeasible>(to_beat)) to_beat = exact(options_.max_expansions);
    if (std::holds_alternative<Infeasible>(to_beat)) return to_beat;
    tailor();
    if (!has_seen_all_ && candidates_.best() > (1.0 + std::max(kNearEnough, options_.gap)) * bound_) {
      (void)exact(options_.max_expansions);
      statistics_.complete = statistics_.complete && has_seen_all_;
    }
    statistics_.solve = deadline_.elapsed();
    const Plan* plan = candidates_.best_plan();
    MOTLEY_CHECK(plan != nullptr, "the plan to beat was offered");
    // One-stage plans are all among those of "exact"; pipelines that cannot beat it are above its time.
    const double bound = std::min(bound_, plan->prediction->iteration.value);
    Certificate certificate =
        certify(*plan->prediction, Objective::Iteration, bound, describe_tailored_space(profile_, options_));
    certificate.asked = asked_space(named_);
    certificate.asked.any_passes = true;
    return candidates_.result("tailored", statistics_, std::move(certificate));
  }

 private:
  /// The schedules that have names, for what is left of the time.
  [[nodiscard]] SearchOptions named() const {
    SearchOptions options = named_;
    options.time_limit = deadline_.left();
    return options;
  }

  SearchResult exact(std::int64_t expansions) {
    SearchOptions options = named();
    options.max_expansions = expansions;
    SearchResult result = plan_exact(profile_, options);
    if (const auto* found = std::get_if<Found>(&result)) {
      candidates_.offer(found->plan);
      for (std::size_t i = 0; i < std::min(kPolished, found->runners_up.size()); ++i) {
        candidates_.offer(found->runners_up[i]);
      }
      statistics_.expansions += found->statistics.expansions;
      has_seen_all_ = found->statistics.complete;
    }
    return result;
  }

  /// Schedules for the pipelines that some order of passes might run faster.
  void tailor() {
    const FreeOrders orders = find_free_orders(profile_, named(), candidates_.best(), kTailored);
    std::vector<Plan> pipelines;
    for (const FreeOrder& order : orders.best) {
      pipelines.push_back(make_plan(order.cuts, order.devices, textbook_warm_up(static_cast<int>(order.devices.size())),
                                    order.micro_batch_size, options_.global_batch, "1f1b"));
    }
    std::vector<Plan> best = all_tailored(pipelines, profile_, options_, kQuick);
    best.resize(std::min(best.size(), kPolished));
    for (Plan& plan : all_tailored(best, profile_, options_, kThorough)) candidates_.offer(std::move(plan));
    bound_ = orders.lower_bound_s;
    statistics_.expansions += orders.expansions;
    statistics_.complete = orders.complete;
  }

  const Profile& profile_;
  const SearchOptions& options_;
  SearchOptions named_;
  Deadline deadline_;
  Candidates candidates_;
  SearchStatistics statistics_;
  bool has_seen_all_ = false;  // "exact" has, of the schedules that have names
  double bound_ = 0.0;         // of pipelines
};

}  // namespace

SearchResult plan_tailored(const Profile& profile, const SearchOptions& options) {
  if (options.objective != Objective::Iteration) {
    throw InputError::of("objective: {} found, planner tailored knows iteration alone", name_of(options.objective));
  }
  return Search(profile, options).run();
}

std::string describe_tailored_space(const Profile& profile, const SearchOptions& options) {
  return fmt::format(
      "1 to {} contiguous stages of {} layers, one device each, {}; micro-batch sizes {}; every order of passes",
      most_stages(profile, options), profile.model.layers.size(),
      options.any_order ? "any choice and order of devices" : "stage s on device s",
      fmt::join(micro_batch_sizes(profile.model, options), ", "));
}

}  // namespace motley

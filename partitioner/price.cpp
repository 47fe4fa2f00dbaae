#include "motley/partitioner/price.h"

#include <algorithm>
#include <set>
#include <utility>

#include "motley/base/error.h"
#include "motley/partitioner/replay.h"
#include "motley/schedule/simulate.h"

namespace motley {

namespace {

constexpr std::int64_t kReplayFrom = 20'000;  // stages times micro-batches

/// A micro-batch's longest message to the next stage and back.
Seconds edge_time(const Plan& plan, const PipelineCosts& costs, int stage) {
  Seconds longest;
  for (const Replica& here : plan.stages[stage].replicas) {
    for (const Replica& there : plan.stages[stage + 1].replicas) {
      const std::int64_t samples =
          std::min(here.sample_end, there.sample_end) - std::max(here.sample_begin, there.sample_begin);
      if (samples <= 0 || here.device == there.device) continue;
      longest = std::max(
          longest, costs.transfer(here.device, there.device, costs.part_bytes({stage, Pass::Forward}, samples)) +
                       costs.transfer(there.device, here.device, costs.part_bytes({stage, Pass::Backward}, samples)));
    }
  }
  return longest;
}

}  // namespace

double usd_per_sample(const Plan& plan, const ClusterProfile& cluster, Seconds iteration) {
  std::set<int> devices;
  for (const StagePlan& stage : plan.stages) {
    for (const Replica& replica : stage.replicas) devices.insert(replica.device);
  }
  double usd_per_hour = 0.0;
  for (const int device : devices) usd_per_hour += cluster.devices[device].usd_per_hour;
  constexpr double kSecondsOfHour = 3600.0;
  const auto samples = static_cast<double>(plan.micro_batch_size) * static_cast<double>(plan.micro_batches);
  return usd_per_hour / kSecondsOfHour * iteration.value / samples;
}

Priced price(const Plan& plan, const Profile& profile, bool clip) {
  const bool is_long = static_cast<std::int64_t>(plan.stages.size()) * plan.micro_batches >= kReplayFrom;
  return is_long && can_replay(plan, profile) ? replay(plan, profile, clip) : price_by_simulation(plan, profile, clip);
}

Priced price_by_simulation(const Plan& plan, const Profile& profile, bool clip) {
  const PipelineCosts costs = costs_of(plan, profile);
  const Simulation simulation = simulate(schedule_of(plan, profile.cluster.size(), clip), costs);
  Priced priced;
  Prediction& prediction = priced.prediction;
  prediction.iteration = simulation.iteration;
  prediction.bubble_share = simulation.bubble_share;
  prediction.stage_busy = simulation.stage_busy;
  prediction.bottleneck = simulation.bottleneck;
  prediction.usd_per_sample = usd_per_sample(plan, profile.cluster, simulation.iteration);
  for (int stage = 0; stage < plan.stage_count(); ++stage) {
    Bytes& peak = prediction.stage_memory.emplace_back();
    for (const Replica& replica : plan.stages[stage].replicas) {
      const Bytes bytes = simulation.peak_memory[replica.device];
      peak = std::max(peak, bytes);
      const Bytes missing = bytes - profile.cluster.devices[replica.device].memory;
      if (missing > Bytes{0} && (!priced.shortfall || missing > priced.shortfall->missing)) {
        priced.shortfall = Shortfall{stage, replica.device, missing};
      }
    }
    if (stage + 1 < plan.stage_count()) prediction.edge_time.push_back(edge_time(plan, costs, stage));
  }
  return priced;
}

void add_expected(Prediction& prediction, const Plan& plan, const Profile& profile, bool clip) {
  prediction.expected = prediction.iteration;
  prediction.expected_busy.clear();
  if (!profile.model.has_bursts()) return;
  Simulation simulation = simulate(schedule_of(plan, profile.cluster.size(), clip), expected_costs_of(plan, profile));
  prediction.expected = simulation.iteration;
  prediction.expected_busy = std::move(simulation.stage_busy);
}

double value_of(const Prediction& prediction, Objective objective) {
  switch (objective) {
    case Objective::Bottleneck:
      return prediction.bottleneck.value;
    case Objective::Cost:
      return prediction.usd_per_sample;
    default:
      return prediction.iteration.value;
  }
}

Certificate certify(const Prediction& prediction, Objective objective, double lower_bound, std::string space) {
  const double value = value_of(prediction, objective);
  const double gap = lower_bound > 0.0 ? value / lower_bound - 1.0 : 0.0;
  const double seconds = objective == Objective::Bottleneck ? prediction.bottleneck.value : prediction.iteration.value;
  return {
      {lower_bound == value ? seconds : seconds * (lower_bound / value)}, gap, std::move(space), name_of(objective)};
}

Candidates::Candidates(const Profile& profile, const SearchOptions& options)
    : profile_(profile),
      objective_(options.objective),
      clip_(options.clip),
      kept_(static_cast<std::size_t>(std::max(1, options.candidates))) {}

bool Candidates::offer(Plan plan) {
  Priced priced = price(plan, profile_, clip_);
  ++simulated_;
  if (priced.shortfall) {
    if (!nearest_miss_ || priced.shortfall->missing < miss_.missing) {
      miss_ = *priced.shortfall;
      nearest_miss_ = std::move(plan);
    }
    return false;
  }
  plan.prediction = std::move(priced.prediction);
  const bool best = value_of(*plan.prediction, objective_) < this->best();
  keep(std::move(plan));
  return best;
}

void Candidates::keep(Plan plan) {
  const auto place = std::upper_bound(plans_.begin(), plans_.end(), plan, [this](const Plan& a, const Plan& b) {
    return value_of(*a.prediction, objective_) < value_of(*b.prediction, objective_);
  });
  if (plans_.size() < kept_ || place != plans_.end()) {
    plans_.insert(place, std::move(plan));
    if (plans_.size() > kept_) plans_.pop_back();
  }
}

void Candidates::merge(Candidates other) {
  simulated_ += other.simulated_;
  for (Plan& plan : other.plans_) keep(std::move(plan));
  if (other.nearest_miss_ && (!nearest_miss_ || other.miss_.missing < miss_.missing)) {
    miss_ = other.miss_;
    nearest_miss_ = std::move(other.nearest_miss_);
  }
}

void Candidates::replace_best(Plan plan) {
  plans_.front() = std::move(plan);
}

double Candidates::best() const {
  return plans_.empty() ? std::numeric_limits<double>::infinity() : value_of(*plans_.front().prediction, objective_);
}

SearchResult Candidates::result(const std::string& planner, const SearchStatistics& statistics,
                                std::optional<Certificate> certificate) const {
  if (plans_.empty()) {
    MOTLEY_CHECK(nearest_miss_.has_value(), "planner {} offered no plan", planner);
    return infeasible(*nearest_miss_, miss_, profile_);
  }
  const std::string of_profile = fingerprint(profile_);
  const std::string of_model = model_fingerprint(profile_.model);
  const auto stamped = [&](Plan plan) {
    plan.planner = planner;
    plan.profile_fingerprint = of_profile;
    plan.model_fingerprint = of_model;
    plan.emulated = profile_.cluster.emulated;
    add_expected(*plan.prediction, plan, profile_, clip_);
    return plan;
  };
  Found found;
  found.plan = stamped(plans_.front());
  found.plan.certificate = std::move(certificate);
  for (std::size_t i = 1; i < plans_.size(); ++i) found.runners_up.push_back(stamped(plans_[i]));
  found.statistics = statistics;
  found.statistics.simulated = simulated_;
  return found;
}

Infeasible infeasible(const Plan& plan, const Shortfall& shortfall, const Profile& profile) {
  const StagePlan& stage = plan.stages[shortfall.stage];
  const Device& device = profile.cluster.devices[shortfall.device];
  Infeasible answer;
  answer.device = shortfall.device;
  answer.missing = shortfall.missing;
  const auto megabytes = [](Bytes bytes) { return static_cast<double>(bytes.value) / 1e6; };
  answer.reason = fmt::format("stage of layers [{}, {}) on {} lacks {:.3f} MB of {:.3f} MB (micro-batch size {})",
                              stage.first_layer, stage.end_layer, device.name, megabytes(shortfall.missing),
                              megabytes(device.memory), plan.micro_batch_size);
  return answer;
}

}  // namespace motley

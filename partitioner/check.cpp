#include "motley/partitioner/check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "motley/base/error.h"
#include "motley/partitioner/baselines.h"
#include "motley/partitioner/brute_force.h"
#include "motley/partitioner/check_bound.h"
#include "motley/partitioner/check_pipelines.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"
#include "motley/partitioner/tailored.h"

namespace motley {
namespace {

constexpr double kTolerance = 1e-9;

bool near(double a, double b) {
  return std::abs(a - b) <= kTolerance * std::max(std::abs(a), std::abs(b));
}

/// What every plan of the space needs at least, by the objective: for each size, every layer on the device that does it
/// fastest (or for the least money), at any share where replicas are allowed, summed over the batch; of time as many
/// devices as there may be each have an equal part. Independent of cuts, order, links and schedule.
double least_work(const Profile& profile, const SearchOptions& options) {
  const bool is_cost = options.objective == Objective::Cost;
  const int devices = allowed(options).replicas ? profile.cluster.size() : most_stages(profile, options);
  double least = std::numeric_limits<double>::infinity();
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    std::vector<std::size_t> measured{profile.model.size_index(size)};
    for (std::size_t i = 0; i < measured.front() && share_unit(options, size) > 0; ++i) measured.push_back(i);
    double work = 0.0;
    for (std::size_t layer = 0; layer < profile.model.layers.size(); ++layer) {
      double fastest = std::numeric_limits<double>::infinity();  // a sample
      for (const Device& device : profile.cluster.devices) {
        const DeviceTable& table = profile.model.device(device.type);
        for (const DeviceTimes* times : {&table.alone, &table.busy}) {
          for (const std::size_t index : measured) {
            const LayerTimes& of = times->by_size[index][layer];
            const double backward = std::min(of.backward.value, of.backward_input.value + of.backward_weight.value);
            const double time =
                (of.forward.value + backward) / static_cast<double>(profile.model.micro_batch_sizes[index]);
            fastest = std::min(fastest, is_cost ? device.usd_per_hour / 3600.0 * time : time);
          }
        }
      }
      work += fastest;
    }
    least = std::min(least, is_cost ? work : static_cast<double>(options.global_batch) * work / devices);
  }
  return least;
}

/// The time that a certificate speaks of.
double bounded_time(const Prediction& prediction, Objective objective) {
  return objective == Objective::Bottleneck ? prediction.bottleneck.value : prediction.iteration.value;
}

/// One certificate and what it is checked against; every value in the unit of its lower bound.
class CertificateCheck {
 public:
  CertificateCheck(const Plan& plan, const Prediction& prediction, const Profile& profile, const SearchOptions& options,
                   Checked& checked)
      : certificate_(*plan.certificate),
        asked_(space_of(plan)),
        prediction_(prediction),
        profile_(profile),
        options_(options),
        checked_(checked) {}

  void run() {
    const double bound = certificate_.lower_bound.value;
    if (certificate_.objective != name_of(options_.objective)) {
      fail(fmt::format("objective: {} found, {} expected", certificate_.objective, name_of(options_.objective)));
      return;
    }
    if (!(bound > 0.0)) {
      fail(fmt::format("lower_bound: {} s found, more than 0 expected", bound));
      return;
    }
    check_arithmetic();
    check_space();
    check_known_plans();
    show();
  }

 private:
  void fail(const std::string& problem) { checked_.problems.push_back("certificate." + problem); }

  /// A value of the objective as seconds like the bound's (for Cost: of this plan's devices).
  [[nodiscard]] double seconds(double value) const {
    return value * bounded_time(prediction_, options_.objective) / value_of(prediction_, options_.objective);
  }

  [[nodiscard]] bool is_below_bound(double time) const {
    return time < certificate_.lower_bound.value * (1.0 - kTolerance);
  }

  void check_arithmetic() {
    const double bound = certificate_.lower_bound.value;
    const double time = bounded_time(prediction_, options_.objective);
    if (is_below_bound(time)) fail(fmt::format("lower_bound: {} s is above this plan's own {} s", bound, time));
    if (certificate_.proven_bound.value > bound * (1.0 + kTolerance)) {
      fail(fmt::format("proven_bound: {} s is above the bound itself, {} s", certificate_.proven_bound.value, bound));
    }
    const double gap = time / bound - 1.0;
    if (std::abs(gap - certificate_.gap) > kTolerance * (1.0 + std::abs(gap))) {
      fail(fmt::format("gap: {} found, {} follows from bound and iteration", certificate_.gap, gap));
    }
  }

  void check_space() {
    const std::string space = certificate_.asked.any_passes ? describe_tailored_space(profile_, options_)
                                                            : describe_space(profile_, options_);
    if (certificate_.space != space) {
      fail(fmt::format("space: found \"{}\", the search was asked for \"{}\"", certificate_.space, space));
    }
    if (certificate_.asked.global_batch > 0 && !(asked_space(asked_) == asked_space(options_)) &&
        !certificate_.asked.any_passes) {
      fail("asked: another space than the one it is checked against");
    }
  }

  void check_known_plans() {
    if (!options_.any_order || options_.use_all_devices) return;  // baselines may lie outside such a space
    if (one_stage_schedules(options_).empty()) return;            // as here
    for (const auto baseline : {plan_uniform, plan_parameters, plan_single}) {
      const SearchResult result = baseline(profile_, options_);
      const Found* const found = std::get_if<Found>(&result);
      if (found == nullptr) continue;
      const double time = seconds(value_of(*found->plan.prediction, options_.objective));
      if (is_below_bound(time)) {
        fail(fmt::format("lower_bound: {} s is above the {} s of planner {}", certificate_.lower_bound.value, time,
                         found->plan.planner));
      }
    }
  }

  /// As much of the bound as can be shown.
  void show() {
    checked_.proven_bound = Seconds{seconds(least_work(profile_, options_))};
    checked_.how = "by the work alone; the rest is the search's word";
    const std::int64_t plans = count_plans(profile_, options_);
    if (plans <= kMostEnumerated) {
      const SearchResult best = plan_brute_force(profile_, options_);
      if (const Found* const found = std::get_if<Found>(&best)) {
        const double least = seconds(value_of(*found->plan.prediction, options_.objective));
        if (is_below_bound(least)) {
          fail(fmt::format("lower_bound: {} s is above the {} s of an enumerated plan", certificate_.lower_bound.value,
                           least));
        }
        if (!certificate_.asked.any_passes) {
          checked_.proven_bound = Seconds{least};
          checked_.how = fmt::format("by enumerating all {} plans", plans);
          return;
        }
      }
    }
    if (certificate_.proofs.empty()) {
      show_by_pipelines();
      return;
    }
    const std::vector<std::string> problems = check_bound(certificate_, profile_, options_);
    checked_.problems.insert(checked_.problems.end(), problems.begin(), problems.end());
    if (problems.empty() && certificate_.proven_bound > checked_.proven_bound) {
      checked_.proven_bound = certificate_.proven_bound;
      checked_.how = is_below_bound(certificate_.proven_bound.value)
                         ? "by the certificate's prices; the rest is the search's word"
                         : "by the certificate's prices";
    }
  }

  void show_by_pipelines() {
    const std::optional<Seconds> least = least_pipeline(profile_, options_, certificate_.asked.any_passes);
    if (!least || *least < checked_.proven_bound) return;
    checked_.proven_bound = *least;
    checked_.how = "by a dynamic programme over the devices used";
    if (is_below_bound(least->value)) checked_.how += "; the rest is the search's word";
  }

  const Certificate& certificate_;
  SearchOptions asked_;
  const Prediction& prediction_;
  const Profile& profile_;
  const SearchOptions& options_;
  Checked& checked_;
};

}  // namespace

namespace {

/// What a prediction says beside time and memory.
void check_details(const Prediction& found, const Prediction& simulated, std::vector<std::string>& problems) {
  const auto expect = [&](const std::string& field, double value, double expected) {
    if (std::abs(value - expected) > kTolerance * (1.0 + std::abs(expected))) {
      problems.push_back(fmt::format("prediction.{}: {} found, {} simulated", field, value, expected));
    }
  };
  const auto expect_all = [&](const std::string& field, const std::vector<Seconds>& values,
                              const std::vector<Seconds>& expected) {
    if (values.size() != expected.size()) {
      problems.push_back(
          fmt::format("prediction.{}: {} values found, {} expected", field, values.size(), expected.size()));
      return;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      expect(fmt::format("{}[{}]", field, i), values[i].value, expected[i].value);
    }
  };
  expect("bubble_share", found.bubble_share, simulated.bubble_share);
  expect("expected", found.expected.value, simulated.expected.value);
  expect("bottleneck", found.bottleneck.value, simulated.bottleneck.value);
  expect("usd_per_sample", found.usd_per_sample, simulated.usd_per_sample);
  expect_all("stage_busy", found.stage_busy, simulated.stage_busy);
  if (!found.expected_busy.empty()) expect_all("expected_busy", found.expected_busy, simulated.expected_busy);
  expect_all("edge_time", found.edge_time, simulated.edge_time);
}

}  // namespace

SearchOptions space_of(const Plan& plan) {
  SearchOptions options;
  if (plan.certificate) options.objective = objective_by_name(plan.certificate->objective);
  if (!plan.certificate || plan.certificate->asked.global_batch == 0) {
    options.global_batch = plan.micro_batch_size * plan.micro_batches;
    options.micro_batch_sizes = {plan.micro_batch_size};
    return options;
  }
  const BoundSpace& asked = plan.certificate->asked;
  options.global_batch = asked.global_batch;
  options.micro_batch_sizes = asked.micro_batch_sizes;
  options.schedules = asked.schedules;
  options.allow = asked.allow;
  options.clip = asked.clip;
  options.max_stages = asked.max_stages;
  options.use_all_devices = asked.use_all_devices;
  options.any_order = asked.any_order;
  options.max_replicas = asked.max_replicas;
  options.share_unit = asked.share_unit;
  options.max_rounds = asked.max_rounds;
  return options;
}

Checked check_plan(const Plan& plan, const Profile& profile, const SearchOptions& options) {
  Checked checked;
  Priced priced;
  try {
    check_options(options);
    validate(plan, static_cast<int>(profile.model.layers.size()), profile.cluster.size(), "plan");
    check_wires(plan, profile, "plan");
    priced = price(plan, profile, options.clip);
  } catch (const InputError& error) {
    checked.problems = {error.what()};
    return checked;
  }
  const auto expect = [&](bool holds, std::string problem) {
    if (!holds) checked.problems.push_back(std::move(problem));
  };
  expect(plan.micro_batch_size * plan.micro_batches == options.global_batch,
         fmt::format("micro_batches: {} of {} samples found, {} samples expected in all", plan.micro_batches,
                     plan.micro_batch_size, options.global_batch));
  const std::string of_profile = plan.profile_fingerprint.empty() ? std::string() : fingerprint(profile);
  expect(plan.profile_fingerprint == of_profile,
         fmt::format("profile_fingerprint: {} found, {} expected", plan.profile_fingerprint, of_profile));
  expect(plan.model_fingerprint.empty() || plan.model_fingerprint == model_fingerprint(profile.model),
         fmt::format("model_fingerprint: {} found, {} expected", plan.model_fingerprint,
                     model_fingerprint(profile.model)));
  expect(plan.emulated == profile.cluster.emulated, "emulated: differs from the profile's");
  if (priced.shortfall) checked.problems.push_back(infeasible(plan, *priced.shortfall, profile).reason);

  const double iteration = priced.prediction.iteration.value;
  if (plan.prediction) {
    expect(
        near(plan.prediction->iteration.value, iteration),
        fmt::format("prediction.iteration: {} s found, {} s simulated", plan.prediction->iteration.value, iteration));
    expect(plan.prediction->stage_memory == priced.prediction.stage_memory,
           "prediction.stage_memory: differs from the simulated peaks");
    add_expected(priced.prediction, plan, profile, options.clip);
    check_details(*plan.prediction, priced.prediction, checked.problems);
  }
  if (plan.certificate) CertificateCheck(plan, priced.prediction, profile, options, checked).run();
  return checked;
}

std::vector<std::string> check(const Plan& plan, const Profile& profile, const SearchOptions& options) {
  return check_plan(plan, profile, options).problems;
}

}  // namespace motley

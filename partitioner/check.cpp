#include "motley/partitioner/check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "motley/base/error.h"
#include "motley/partitioner/baselines.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

constexpr double kTolerance = 1e-9;

bool near(double a, double b) {
  return std::abs(a - b) <= kTolerance * std::max(std::abs(a), std::abs(b));
}

/// Seconds that every plan of the space needs at least: for each size, the fastest device's time of every layer, at any
/// share where replicas are allowed, summed over the batch and shared by as many devices as there may be. Independent
/// of cuts, order, links and schedule.
double least_work(const Profile& profile, const SearchOptions& options) {
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
            fastest = std::min(
                fastest, (of.forward.value + backward) / static_cast<double>(profile.model.micro_batch_sizes[index]));
          }
        }
      }
      work += fastest;
    }
    least = std::min(least, static_cast<double>(options.global_batch) * work / devices);
  }
  return least;
}

/// The time that the certificate speaks of.
Seconds bounded_time(const Prediction& prediction, Objective objective) {
  return objective == Objective::Bottleneck ? prediction.bottleneck : prediction.iteration;
}

void check_certificate(const Plan& plan, const Prediction& prediction, const Profile& profile,
                       const SearchOptions& options, std::vector<std::string>& problems) {
  if (plan.certificate->objective != name_of(options.objective)) {
    problems.push_back(fmt::format("certificate.objective: {} found, {} expected", plan.certificate->objective,
                                   name_of(options.objective)));
    return;
  }
  const double bound = plan.certificate->lower_bound.value;
  if (!(bound > 0.0)) {
    problems.push_back(fmt::format("certificate.lower_bound: {} s found, more than 0 expected", bound));
    return;
  }
  const double time = bounded_time(prediction, options.objective).value;
  if (bound > time * (1.0 + kTolerance)) {
    problems.push_back(fmt::format("certificate.lower_bound: {} s is above this plan's own {} s", bound, time));
  }
  const double gap = time / bound - 1.0;
  if (std::abs(gap - plan.certificate->gap) > kTolerance * (1.0 + std::abs(gap))) {
    problems.push_back(
        fmt::format("certificate.gap: {} found, {} follows from bound and iteration", plan.certificate->gap, gap));
  }
  if (!options.any_order || options.use_all_devices) return;  // baselines may lie outside such a space
  const double of_second = value_of(prediction, options.objective) / time;
  for (const auto baseline : {plan_uniform, plan_parameters, plan_single}) {
    const SearchResult result = baseline(profile, options);
    const Found* const found = std::get_if<Found>(&result);
    if (found == nullptr) continue;
    const double seconds = value_of(*found->plan.prediction, options.objective) / of_second;
    if (seconds < bound * (1.0 - kTolerance)) {
      problems.push_back(fmt::format("certificate.lower_bound: {} s is above the {} s of planner {}", bound, seconds,
                                     found->plan.planner));
    }
  }
}

}  // namespace

std::vector<std::string> check(const Plan& plan, const Profile& profile, const SearchOptions& options) {
  std::vector<std::string> problems;
  Priced priced;
  try {
    check_options(options);
    validate(plan, static_cast<int>(profile.model.layers.size()), profile.cluster.size(), "plan");
    priced = price(plan, profile, options.clip);
  } catch (const InputError& error) {
    return {error.what()};
  }
  const auto expect = [&](bool holds, std::string problem) {
    if (!holds) problems.push_back(std::move(problem));
  };
  expect(plan.micro_batch_size * plan.micro_batches == options.global_batch,
         fmt::format("micro_batches: {} of {} samples found, {} samples expected in all", plan.micro_batches,
                     plan.micro_batch_size, options.global_batch));
  expect(plan.profile_fingerprint.empty() || plan.profile_fingerprint == fingerprint(profile),
         fmt::format("profile_fingerprint: {} found, {} expected", plan.profile_fingerprint, fingerprint(profile)));
  expect(plan.model_fingerprint.empty() || plan.model_fingerprint == model_fingerprint(profile.model),
         fmt::format("model_fingerprint: {} found, {} expected", plan.model_fingerprint,
                     model_fingerprint(profile.model)));
  expect(plan.emulated == profile.cluster.emulated, "emulated: differs from the profile's");
  if (priced.shortfall) problems.push_back(infeasible(plan, *priced.shortfall, profile).reason);

  const double iteration = priced.prediction.iteration.value;
  const double least = least_work(profile, options);
  expect(iteration >= least * (1.0 - kTolerance),
         fmt::format("iteration: {} s simulated, but the work alone takes at least {} s", iteration, least));
  if (plan.prediction) {
    expect(
        near(plan.prediction->iteration.value, iteration),
        fmt::format("prediction.iteration: {} s found, {} s simulated", plan.prediction->iteration.value, iteration));
    expect(plan.prediction->stage_memory == priced.prediction.stage_memory,
           "prediction.stage_memory: differs from the simulated peaks");
  }
  if (plan.certificate) check_certificate(plan, priced.prediction, profile, options, problems);
  return problems;
}

}  // namespace motley

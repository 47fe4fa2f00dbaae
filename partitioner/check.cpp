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

/// Seconds that every plan of the space needs at least: for each size, the fastest device's time of every layer, summed
/// over the batch and shared by as many devices as there may be. Independent of cuts, order, links and schedule.
double least_work(const Profile& profile, const SearchOptions& options) {
  double least = std::numeric_limits<double>::infinity();
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    const std::size_t index = profile.model.size_index(size);
    double work = 0.0;
    for (std::size_t layer = 0; layer < profile.model.layers.size(); ++layer) {
      double fastest = std::numeric_limits<double>::infinity();
      for (const Device& device : profile.cluster.devices) {
        const DeviceTable& table = profile.model.device(device.type);
        for (const DeviceTimes* times : {&table.alone, &table.busy}) {
          const LayerTimes& of = times->by_size[index][layer];
          fastest = std::min(fastest, of.forward.value + of.backward.value);
        }
      }
      work += fastest;
    }
    const std::int64_t whole = options.global_batch / size;
    const auto count = static_cast<double>(whole);
    least = std::min(least, count * work / most_stages(profile, options));
  }
  return least;
}

void check_certificate(const Plan& plan, double iteration, const Profile& profile, const SearchOptions& options,
                       std::vector<std::string>& problems) {
  const double bound = plan.certificate->lower_bound.value;
  if (!(bound > 0.0)) {
    problems.push_back(fmt::format("certificate.lower_bound: {} s found, more than 0 expected", bound));
    return;
  }
  if (bound > iteration * (1.0 + kTolerance)) {
    problems.push_back(fmt::format("certificate.lower_bound: {} s is above this plan's own {} s", bound, iteration));
  }
  const double gap = iteration / bound - 1.0;
  if (std::abs(gap - plan.certificate->gap) > kTolerance * (1.0 + std::abs(gap))) {
    problems.push_back(
        fmt::format("certificate.gap: {} found, {} follows from bound and iteration", plan.certificate->gap, gap));
  }
  if (!options.any_order || options.use_all_devices) return;  // baselines may lie outside such a space
  for (const auto baseline : {plan_uniform, plan_parameters, plan_single}) {
    const SearchResult result = baseline(profile, options);
    const Found* const found = std::get_if<Found>(&result);
    if (found != nullptr && found->plan.prediction->iteration.value < bound * (1.0 - kTolerance)) {
      problems.push_back(fmt::format("certificate.lower_bound: {} s is above the {} s of planner {}", bound,
                                     found->plan.prediction->iteration.value, found->plan.planner));
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
  if (plan.certificate) check_certificate(plan, iteration, profile, options, problems);
  return problems;
}

}  // namespace motley

#include "motley/launcher/plan_what_if.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/progress.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/what_if.h"

namespace motley {
namespace {

using nlohmann::json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// One profile planned.
struct Variant {
  std::string words;
  double usd_per_hour = 0.0;  // of all its devices
  double value = kInfinity;   // of the objective; infinite: no plan fits
  double iteration_s = kInfinity;
  std::size_t stages = 0;
  double gap = 0.0;
  std::string infeasible;
};

Variant solve(const std::string& planner, const std::string& words, const Profile& profile,
              const SearchOptions& options) {
  Variant variant;
  variant.words = words;
  for (const Device& device : profile.cluster.devices) variant.usd_per_hour += device.usd_per_hour;
  const SearchResult result = find_plan(planner, profile, options);
  if (const auto* infeasible = std::get_if<Infeasible>(&result)) {
    variant.infeasible = infeasible->reason;
    return variant;
  }
  const Plan& plan = std::get<Found>(result).plan;
  variant.value = value_of(*plan.prediction, options.objective);
  variant.iteration_s = plan.prediction->iteration.value;
  variant.stages = plan.stages.size();
  variant.gap = plan.certificate ? plan.certificate->gap : 0.0;
  return variant;
}

json to_json(const Variant& variant, const SearchOptions& options) {
  json object = {{"what", variant.words}, {"usd_per_hour", variant.usd_per_hour}};
  if (!variant.infeasible.empty()) {
    object["infeasible"] = variant.infeasible;
    return object;
  }
  object["iteration_s"] = variant.iteration_s;
  object[name_of(options.objective)] = variant.value;
  object["stages"] = variant.stages;
  object["gap"] = variant.gap;
  return object;
}

std::string unit_of(Objective objective) {
  return objective == Objective::Cost ? "USD/sample" : objective == Objective::Bottleneck ? "bottleneck s" : "time s";
}

}  // namespace

int plan_what_if(const std::string& planner, const Profile& profile, const SearchOptions& options,
                 const std::vector<std::string>& changes, bool as_json) {
  std::vector<Profile> profiles;  // all read before the first search
  for (const std::string& change : changes) profiles.push_back(what_if(profile, change));
  const Waiting waiting(fmt::format("plan ({}, {} variants)", planner, changes.size() + 1));
  std::vector<Variant> variants{solve(planner, "as it is", profile, options)};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    variants.push_back(solve(planner, changes[i], profiles[i], options));
  }
  const double before = variants.front().value;
  if (as_json) {
    json all = json::array();
    for (const Variant& variant : variants) {
      all.push_back(to_json(variant, options));
      if (variant.value < kInfinity && before < kInfinity) all.back()["change"] = variant.value / before - 1.0;
    }
    std::cout << json{{"planner", planner}, {"what_if", std::move(all)}} << '\n';
    return 0;
  }
  std::cout << fmt::format("{:<36} {:>14} {:>8} {:>7} {:>7} {:>9}\n", "what if", unit_of(options.objective), "change %",
                           "gap %", "stages", "USD/hour");
  for (const Variant& variant : variants) {
    if (!variant.infeasible.empty()) {
      std::cout << fmt::format("{:<36} no plan fits: {}\n", variant.words, variant.infeasible);
      continue;
    }
    std::cout << fmt::format("{:<36} {:>14.6g} {:>8} {:>7.2f} {:>7} {:>9.2f}\n", variant.words, variant.value,
                             before < kInfinity ? fmt::format("{:+.2f}", 100.0 * (variant.value / before - 1.0)) : "-",
                             100.0 * variant.gap, variant.stages, variant.usd_per_hour);
  }
  return 0;
}

int plan_sweep(const std::string& planner, const Profile& profile, const SearchOptions& options, bool as_json) {
  const std::vector<Composition> all = compositions(profile.cluster);
  if (std::all_of(all.begin(), all.end(), [](const Composition& of) { return of.usd_per_hour == 0.0; })) {
    throw InputError("motley plan: --sweep: no device of the profile has usd_per_hour, expected prices");
  }
  Waiting waiting(fmt::format("plan ({}, {} compositions)", planner, all.size()));
  std::vector<Variant> variants;
  std::vector<double> prices;
  std::vector<double> times;
  for (const Composition& of : all) {
    waiting.phase(of.words);
    variants.push_back(solve(planner, of.words, only_devices(profile, of.devices), options));
    prices.push_back(of.usd_per_hour);
    times.push_back(variants.back().iteration_s);
  }
  const std::vector<bool> best = pareto(prices, times);
  const auto is_best = [&](std::size_t i) { return best[i] && variants[i].infeasible.empty(); };
  if (as_json) {
    json rows = json::array();
    for (std::size_t i = 0; i < variants.size(); ++i) {
      rows.push_back(to_json(variants[i], options));
      rows.back()["pareto"] = is_best(i);
    }
    std::cout << json{{"planner", planner}, {"sweep", std::move(rows)}} << '\n';
    return 0;
  }
  std::cout << fmt::format("{:>2} {:>9} {:>14} {:>16} {:>7} {:>7}  {}\n", "", "USD/hour", "iteration s",
                           "USD/iteration", "gap %", "stages", "devices");
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const Variant& variant = variants[i];
    if (!variant.infeasible.empty()) {
      std::cout << fmt::format("{:>2} {:>9.2f} {:>14} {:>16} {:>7} {:>7}  {}\n", "", variant.usd_per_hour,
                               "does not fit", "-", "-", "-", variant.words);
      continue;
    }
    std::cout << fmt::format("{:>2} {:>9.2f} {:>14.6g} {:>16.6g} {:>7.2f} {:>7}  {}\n", is_best(i) ? "*" : "",
                             variant.usd_per_hour, variant.iteration_s,
                             variant.usd_per_hour / 3600.0 * variant.iteration_s, 100.0 * variant.gap, variant.stages,
                             variant.words);
  }
  std::cout << "* no other composition costs less an hour and takes no longer\n";
  return 0;
}

}  // namespace motley

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "motley/base/error.h"
#include "motley/base/log.h"
#include "motley/base/progress.h"
#include "motley/launcher/bench.h"
#include "motley/launcher/config_arguments.h"
#include "motley/launcher/context.h"
#include "motley/launcher/job.h"
#include "motley/launcher/options.h"
#include "motley/launcher/plan_comparison.h"
#include "motley/launcher/search_arguments.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

/// What two plans must share to run alike.
bool same(const Plan& a, const Plan& b) {
  return a.micro_batch_size == b.micro_batch_size && a.micro_batches == b.micro_batches && a.schedule == b.schedule &&
         a.stages == b.stages && a.actions == b.actions;
}

PlanComparison compare(const std::vector<std::string>& planners, const Profile& profile, const SearchOptions& search) {
  PlanComparison comparison;
  comparison.emulated = profile.cluster.emulated;
  std::vector<std::exception_ptr> refusals;  // some planners know less than the whole space
  for (const std::string& planner : planners) {
    const Waiting waiting(fmt::format("plan ({})", planner));
    SearchResult result;
    try {
      result = find_plan(planner, profile, search);
    } catch (const InputError& error) {
      refusals.push_back(std::current_exception());
      comparison.failed.push_back({planner, error.what()});
      continue;
    }
    if (const auto* infeasible = std::get_if<Infeasible>(&result)) {
      comparison.failed.push_back({planner, infeasible->reason});
      continue;
    }
    const Found& found = std::get<Found>(result);
    if (found.plan.certificate && search.objective == Objective::Iteration) {
      const Seconds bound = found.plan.certificate->lower_bound;
      comparison.lower_bound = comparison.lower_bound.value > 0.0 ? std::min(comparison.lower_bound, bound) : bound;
    }
    const auto known = std::find_if(comparison.plans.begin(), comparison.plans.end(),
                                    [&](const ComparedPlan& compared) { return same(compared.plan, found.plan); });
    if (known != comparison.plans.end()) {
      known->planners.push_back(planner);
    } else {
      comparison.plans.push_back({{planner}, found.plan, found.statistics.solve, {}});
    }
  }
  if (refusals.size() == planners.size()) std::rethrow_exception(refusals.front());
  std::stable_sort(comparison.plans.begin(), comparison.plans.end(), [](const ComparedPlan& a, const ComparedPlan& b) {
    return a.plan.prediction->iteration < b.plan.prediction->iteration;
  });
  return comparison;
}

}  // namespace

int bench_plans(const Invocation& invocation) {
  po::options_description options("options");
  ConfigArguments arguments;
  arguments.add_to(options, false);
  std::string profile_file;
  std::vector<std::string> planners;
  int repeats = 3;
  std::int64_t steps = 0;
  options.add_options()("profile", po::value(&profile_file), "profile.json (default with CONFIG: measured now)")(
      "planners", po::value(&planners)->multitoken(), "which to ask (default: all but brute-force)")(
      "repeats", po::value(&repeats)->default_value(3), "with CONFIG: runs of every plan, in turn")(
      "steps", po::value(&steps), "with CONFIG: steps a run (default: compare.steps)")("json", "print one JSON object");
  SearchArguments search_arguments;
  search_arguments.add_to(options);
  const auto values =
      parse_options(invocation, "bench plans",
                    "bench plans --profile FILE --batch N [--planners NAME...]\n   or: motley bench plans CONFIG "
                    "[--repeats N] [--steps N], which runs every plan as well",
                    "motley bench plans --profile run/quickstart/profile.json --batch 512", options, "config");
  if (!values) {
    return 0;
  }
  const bool measure = !arguments.file.empty();
  if (!measure && (profile_file.empty() || !values->contains("batch"))) {
    throw InputError::of("motley bench plans: option --{} is missing (or a configuration to run)",
                         profile_file.empty() ? "profile" : "batch");
  }
  if (repeats < 1) {
    throw InputError::of("motley bench plans: --repeats: found {}, expected at least 1", repeats);
  }
  const bool quiet = values->contains("quiet");
  std::optional<Config> config;
  SearchOptions search = search_arguments.read();
  std::filesystem::path folder;
  if (measure) {
    config = arguments.read();
    if (values->contains("batch") && search.global_batch != config->train.global_batch) {
      throw InputError::of("motley bench plans: --batch: found {}, {} trains with {}", search.global_batch,
                           config->source, config->train.global_batch);
    }
    search.global_batch = config->train.global_batch;
    folder = config->run_directory / "bench-plans";
    std::filesystem::create_directories(folder);
    if (profile_file.empty()) {
      profile_file = (folder / "profile.json").string();
      run_job(invocation, *config, "profile", arguments.words(), {"--out", profile_file}, quiet);
    }
  }
  const Profile profile = read_profile(profile_file);
  if (planners.empty()) {
    planners = planner_names();
    std::erase(planners, "brute-force");
  }
  PlanComparison comparison = compare(planners, profile, search);
  // One run of each plan after the other, and again, so that what drifts drifts for all.
  for (int repeat = 0; measure && repeat < repeats; ++repeat) {
    for (ComparedPlan& compared : comparison.plans) {
      const std::filesystem::path run = folder / fmt::format("{}-{}", compared.planners.front(), repeat);
      const std::string plan_file = (folder / (compared.planners.front() + ".json")).string();
      write_plan(plan_file, compared.plan);
      std::filesystem::remove_all(run);
      run_job(invocation, *config, "train", arguments.words(),
              {"--plan", plan_file, "--profile", profile_file, "--run", run.string(), "--steps",
               std::to_string(steps > 0 ? steps : config->compare.steps), "--no-evaluation", "--checkpoint-every", "0"},
              quiet);
      compared.measured.emplace_back(summary_of(run / "record.jsonl").at("iteration_s").get<double>());
    }
  }
  if (values->contains("json")) {
    std::cout << to_json(comparison) << '\n';
  } else {
    std::cout << in_words(comparison);
  }
  return 0;
}

}  // namespace motley

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "motley/base/error.h"
#include "motley/base/progress.h"
#include "motley/launcher/options.h"
#include "motley/launcher/plan_model.h"
#include "motley/partitioner/explain.h"
#include "motley/partitioner/search.h"
#include "motley/plan/files.h"

namespace motley {

int command_plan(const Invocation& invocation) {
  po::options_description options("options");
  std::string profile_file;
  std::string out;
  std::string planner;
  std::vector<std::int64_t> sizes;
  std::vector<std::string> schedules;
  SearchOptions search;
  options.add_options()("profile", po::value(&profile_file), "profile.json")("batch", po::value(&search.global_batch),
                                                                             "samples an iteration")(
      "planner", po::value(&planner)->default_value("exact"), "exact, uniform, parameters, single or brute-force")(
      "micro-batch-size", po::value(&sizes)->multitoken(),
      "allowed sizes (default: every profiled one that divides the batch)")(
      "schedule", po::value(&schedules)->multitoken(), "1f1b, gpipe (default: 1f1b)")(
      "out", po::value(&out), "plan to write")("explain", "print where the time goes and what lost")(
      "json", "print the plan as one JSON object");
  ModelQuestion question;
  po::options_description graphs("instead of --profile, for a model graph made by motley import");
  graphs.add_options()("model", po::value(&question.model_file), "model.json")(
      "objective", po::value(&question.objective)->default_value("bottleneck"), "bottleneck: the slowest stage")(
      "devices", po::value(&question.devices), "equal devices")(
      "bandwidth", po::value(&question.bandwidth)->default_value(1e9), "of a link, bytes/s")(
      "devices-from-model", "devices and transfer times as the model's file says")(
      "pipedream-cost", "the cost of PipeDream's optimiser with its two faults, for comparison")(
      "linearise", "cut one linear order of the graph instead of the graph");
  options.add(graphs);
  const auto values = parse_options(invocation, "plan", "plan --profile FILE --batch N [--planner NAME] [--out FILE]",
                                    "motley plan --profile run/profile.json --batch 256 --explain", options, "");
  if (!values) {
    return 0;
  }
  if (values->contains("model")) {
    question.devices_from_model = values->contains("devices-from-model");
    question.pipedream_cost = values->contains("pipedream-cost");
    question.linearise = values->contains("linearise");
    question.json = values->contains("json");
    return plan_model(question);
  }
  if (!values->contains("profile") || !values->contains("batch")) {
    throw InputError::of("motley plan: option --{} is missing (or --model; motley plan --help tells more)",
                         values->contains("profile") ? "batch" : "profile");
  }
  search.micro_batch_sizes = std::move(sizes);
  if (!schedules.empty()) {
    search.schedules = std::move(schedules);
  }
  const Profile profile = read_profile(profile_file);
  std::optional<Waiting> waiting(std::in_place, fmt::format("plan ({})", planner));
  const SearchResult result = find_plan(planner, profile, search);
  waiting.reset();
  if (const auto* infeasible = std::get_if<Infeasible>(&result)) {
    if (values->contains("json")) {
      std::cout << nlohmann::json{{"infeasible", infeasible->reason}, {"missing_bytes", infeasible->missing.value}}
                << '\n';
    } else {
      std::cout << "no plan fits: " << infeasible->reason << '\n';
    }
    return 2;
  }
  const Found& found = std::get<Found>(result);
  if (!out.empty()) {
    write_plan(out, found.plan);
  }
  if (values->contains("json")) {
    nlohmann::json object = to_json(found.plan);
    object["solve_s"] = found.statistics.solve.value;
    std::cout << object << '\n';
  } else if (values->contains("explain") || out.empty()) {
    std::cout << explain(found, profile);
  }
  return 0;
}

}  // namespace motley

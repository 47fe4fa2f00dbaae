#include <fmt/ranges.h>

#include <atomic>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "motley/base/error.h"
#include "motley/base/log.h"
#include "motley/base/progress.h"
#include "motley/launcher/options.h"
#include "motley/launcher/plan_model.h"
#include "motley/launcher/plan_what_if.h"
#include "motley/launcher/search_arguments.h"
#include "motley/partitioner/explain.h"
#include "motley/partitioner/search.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

std::atomic<bool> stop_search{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

/// While it lives the first Ctrl-C ends the search in order, with the best plan so far; the second ends the program.
class StopOnInterrupt {
 public:
  StopOnInterrupt() {
    std::signal(SIGINT, [](int) {
      stop_search = true;
      std::signal(SIGINT, SIG_DFL);
    });
  }
  ~StopOnInterrupt() { std::signal(SIGINT, SIG_DFL); }
  StopOnInterrupt(const StopOnInterrupt&) = delete;
  StopOnInterrupt& operator=(const StopOnInterrupt&) = delete;
};

/// Plans and tells how it goes: after one second, then twice as long each time.
SearchResult find_plan_aloud(const std::string& planner, const Profile& profile, SearchOptions options) {
  Waiting waiting(fmt::format("plan ({})", planner));
  const StopOnInterrupt interrupt;
  options.stop = &stop_search;
  options.progress = [&waiting, next_s = 1.0](const SearchProgress& progress) mutable {
    if (progress.elapsed.value < next_s) {
      return;
    }
    next_s = 2.0 * progress.elapsed.value;
    waiting.phase(fmt::format("{} nodes, best {:.6g}, no plan below {:.6g} (gap {:.2f} %)", progress.expansions,
                              progress.best, progress.lower_bound,
                              100.0 * (progress.best / progress.lower_bound - 1.0)));
  };
  return find_plan(planner, profile, options);
}

/// What the user should know of a plan beside itself.
void warn_of(const Found& found, const SearchOptions& options) {
  if (!found.statistics.complete) {
    spdlog::warn("the search was ended before it was done: the plan may be {:.2f} % above the best ({})",
                 100.0 * found.plan.certificate->gap, name_of(options.objective));
  }
}

}  // namespace

int command_plan(const Invocation& invocation) {
  po::options_description options("options");
  std::string profile_file;
  std::string out;
  std::string planner;
  std::vector<std::string> changes;
  options.add_options()("profile", po::value(&profile_file), "profile.json")(
      "planner", po::value(&planner)->default_value("exact"),
      fmt::format("one of {}", fmt::join(planner_names(), ", ")).c_str())("out", po::value(&out), "plan to write")(
      "explain", "print where the time goes, what lost and what more memory or a faster link would be worth")(
      "what-if", po::value(&changes)->composing(),
      "also plan with this changed: \"device 3 = A100-80\", \"device 3 memory + 1GB\", \"device 3 price = 2.5\", "
      "\"device 3 unused\", \"link 0 -> 1 x 2\"; may be given several times")(
      "sweep", "plan every composition of the cluster: time and price, the best marked")(
      "json", "print the plan as one JSON object");
  SearchArguments arguments;
  arguments.add_to(options);
  ModelQuestion question;
  po::options_description graphs("instead of --profile, for a model graph made by motley import");
  graphs.add_options()("model", po::value(&question.model_file), "model.json")("devices", po::value(&question.devices),
                                                                               "equal devices")(
      "bandwidth", po::value(&question.bandwidth)->default_value(1e9), "of a link, bytes/s")(
      "devices-from-model", "devices and transfer times as the model's file says")(
      "pipedream-cost", "the cost of PipeDream's optimiser with its two faults, for comparison")(
      "linearise", "cut one linear order of the graph instead of the graph");
  options.add(graphs);
  const auto values = parse_options(
      invocation, "plan", "plan --profile FILE --batch N [--planner NAME] [--out FILE]",
      "motley plan --profile run/quickstart/profile.json --batch 512 --explain --out plan.json", options, "");
  if (!values) {
    return 0;
  }
  if (values->contains("model")) {
    question.objective = values->contains("objective") ? (*values)["objective"].as<std::string>() : "bottleneck";
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
  const SearchOptions search = arguments.read();
  const Profile profile = read_profile(profile_file);
  if (!changes.empty() || values->contains("sweep")) {
    if (!out.empty() || values->contains("explain") || (!changes.empty() && values->contains("sweep"))) {
      throw InputError(
          "motley plan: --what-if and --sweep only compare, expected one of them, no --out and no --explain");
    }
    return changes.empty() ? plan_sweep(planner, profile, search, values->contains("json"))
                           : plan_what_if(planner, profile, search, changes, values->contains("json"));
  }
  const SearchResult result = find_plan_aloud(planner, profile, search);
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
  warn_of(found, search);
  if (!out.empty()) {
    write_plan(out, found.plan);
  }
  if (values->contains("json")) {
    nlohmann::json object = to_json(found.plan);
    object["solve_s"] = found.statistics.solve.value;
    std::cout << object << '\n';
  } else if (values->contains("explain") || out.empty()) {
    std::cout << explain(found, profile);
    if (values->contains("explain")) {
      std::cout << explain_worth(planner, found, profile, search);
    }
  }
  return 0;
}

}  // namespace motley

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "motley/base/error.h"
#include "motley/launcher/bench.h"
#include "motley/launcher/options.h"
#include "motley/launcher/search_arguments.h"
#include "motley/partitioner/check.h"
#include "motley/partitioner/search.h"
#include "motley/partitioner/synthetic.h"

namespace motley {
namespace {

using nlohmann::json;

// What the parametric planner is asked for where nothing else is: the optimum up to so many devices, beyond them a gap.
constexpr int kDevicesForNoGap = 64;
constexpr double kGap = 0.02;

/// Seconds that all threads of this program computed so far: unlike the clock's hardly longer on a busy machine.
double computed_s() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

/// One profile solved. Members as printed; without "gap" the planner gives no bound.
json solve(const std::string& planner, const SyntheticSize& size, SearchOptions options, bool check) {
  const Profile profile = synthetic_profile(size);
  if (options.global_batch == 0) {
    options.global_batch = synthetic_options().global_batch;
  }
  const double before_s = computed_s();
  const SearchResult result = find_plan(planner, profile, options);
  json object = {{"seed", size.seed}, {"cpu_s", computed_s() - before_s}};
  const auto* found = std::get_if<Found>(&result);
  if (found == nullptr) {
    object["infeasible"] = std::get<Infeasible>(result).reason;
    return object;
  }
  const Plan& plan = found->plan;
  object["solve_s"] = found->statistics.solve.value;
  object["expansions"] = found->statistics.expansions;
  object["complete"] = found->statistics.complete;
  object["iteration_s"] = plan.prediction->iteration.value;
  object["stages"] = plan.stages.size();
  object["micro_batch_size"] = plan.micro_batch_size;
  object["memory_bound_share"] = memory_bound_share(plan, profile);
  if (plan.certificate) {
    object["lower_bound_s"] = plan.certificate->lower_bound.value;
    object["gap"] = plan.certificate->gap;
  }
  if (check) {
    const Checked checked = check_plan(plan, profile, space_of(plan));
    object["check"] = {{"sound", checked.problems.empty()},
                       {"problems", checked.problems},
                       {"proven_bound_s", checked.proven_bound.value},
                       {"how", checked.how}};
  }
  return object;
}

std::string in_words(const json& run) {
  if (run.contains("infeasible")) {
    return fmt::format("{:>5} no plan fits: {}\n", run["seed"].get<std::uint64_t>(),
                       run["infeasible"].get<std::string>());
  }
  std::string text =
      fmt::format("{:>5} {:>9.3f} {:>9.3f} {:>9} {:>12.4f} {:>7} {:>12} {:>8.1f}", run["seed"].get<std::uint64_t>(),
                  run["solve_s"].get<double>(), run["cpu_s"].get<double>(),
                  run.contains("gap") ? fmt::format("{:.3f}", 100.0 * run["gap"].get<double>()) : "-",
                  run["iteration_s"].get<double>(), run["stages"].get<std::size_t>(),
                  run["micro_batch_size"].get<std::int64_t>(), 100.0 * run["memory_bound_share"].get<double>());
  if (run.contains("check")) {
    text += run["check"]["sound"].get<bool>() ? "  sound" : "  wrong: " + run["check"]["problems"].dump();
  }
  return text + "\n";
}

}  // namespace

int bench_planner(const Invocation& invocation) {
  po::options_description options("options");
  SyntheticSize size{96, 64, 4, 8, 1};
  int seeds = 1;
  std::string planner;
  options.add_options()("layers", po::value(&size.layers)->default_value(size.layers), "of the synthetic model")(
      "devices", po::value(&size.devices)->default_value(size.devices), "of the synthetic cluster")(
      "types", po::value(&size.types)->default_value(size.types), "of devices")(
      "hosts", po::value(&size.hosts)->default_value(size.hosts), "of the cluster")(
      "seed", po::value(&size.seed)->default_value(size.seed), "of the first profile")(
      "seeds", po::value(&seeds)->default_value(seeds), "how many profiles, seed after seed")(
      "planner", po::value(&planner)->default_value("parametric"), "which to ask")(
      "check", "have every plan and its bound checked as well")("json", "print one JSON object");
  SearchArguments arguments;
  arguments.add_to(options);
  const auto values = parse_options(
      invocation, "bench planner",
      "bench planner [--layers L] [--devices D] [--types T] [--hosts H] [--seed S] [--seeds N] [--planner NAME]",
      "motley bench planner --layers 1000 --devices 1024 --types 8 --hosts 128 --seeds 20", options, "");
  if (!values) {
    return 0;
  }
  if (seeds < 1) {
    throw InputError::of("motley bench planner: --seeds: found {}, expected at least 1", seeds);
  }
  const bool as_json = values->contains("json");
  json runs = json::array();
  double worst_gap = 0.0;
  double longest_s = 0.0;
  for (int i = 0; i < seeds; ++i) {
    SyntheticSize of = size;
    of.seed += static_cast<std::uint64_t>(i);
    SearchOptions search = arguments.read();
    if (planner == "parametric" && !values->contains("gap")) {
      search.gap = size.devices > kDevicesForNoGap ? kGap : 0.0;
    }
    json run = solve(planner, of, std::move(search), values->contains("check"));
    worst_gap = std::max(worst_gap, run.value("gap", std::numeric_limits<double>::infinity()));
    longest_s = std::max(longest_s, run.value("solve_s", 0.0));
    if (!as_json) {
      if (i == 0) {
        std::cout << fmt::format("{:>5} {:>9} {:>9} {:>9} {:>12} {:>7} {:>12} {:>8}\n", "seed", "solve s", "cpu s",
                                 "gap %", "iteration s", "stages", "micro-batch", "memory %");
      }
      std::cout << in_words(run) << std::flush;
    }
    runs.push_back(std::move(run));
  }
  if (as_json) {
    json object = seeds == 1 ? runs[0] : json{{"worst_gap", worst_gap}, {"longest_solve_s", longest_s}};
    object.update({{"planner", planner},
                   {"layers", size.layers},
                   {"devices", size.devices},
                   {"types", size.types},
                   {"hosts", size.hosts}});
    if (seeds > 1) {
      object["runs"] = std::move(runs);
    }
    std::cout << object << '\n';
  } else {
    std::cout << fmt::format(
        "worst gap {:.3f} %, longest solve {:.3f} s; memory %: devices of the cluster whose "
        "memory holds no layer more\n",
        100.0 * worst_gap, longest_s);
  }
  return 0;
}

}  // namespace motley

#include "motley/schedule/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/launcher/options.h"
#include "motley/launcher/simulated_events.h"
#include "motley/plan/files.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

/// A schedule from a file in place of the plan's own, lowered. Throws InputError where it does not fit the plan.
Schedule schedule_for(const Plan& plan, const std::string& file, int devices) {
  Schedule compute = compute_only(read_csv(file));
  const auto expect = [&](const std::string& what, std::int64_t found, std::int64_t expected) {
    if (found != expected) {
      throw InputError::of("{}: found {} {}, expected the plan's {}", file, found, what, expected);
    }
  };
  expect("stages", compute.stage_count(), plan.stage_count());
  expect("micro-batches", compute.micro_batch_count(), plan.micro_batches);
  const std::vector<int> ranks = compute.rank_of_stage();
  for (std::size_t s = 0; s < ranks.size(); ++s) {
    expect(fmt::format("as the rank of stage {}", s), ranks[s], plan.stages[s].replicas.front().device);
  }
  compute.ranks.resize(static_cast<std::size_t>(std::max(devices, compute.rank_count())));
  return add_transfers(with_updates(std::move(compute), true));
}

}  // namespace

int command_simulate(const Invocation& invocation) {
  po::options_description options("options");
  std::string profile_file;
  std::string plan_file;
  std::string trace;
  std::string schedule;
  options.add_options()("profile", po::value(&profile_file)->required(), "profile.json")(
      "plan", po::value(&plan_file)->required(), "plan.json")(
      "schedule", po::value(&schedule),
      "1f1b, gpipe, zero-bubble, interleaved-1f1b or a CSV file, instead of the plan's own")(
      "trace", po::value(&trace), "Chrome/Perfetto trace to write")("json", "print one JSON object");
  const auto values = parse_options(
      invocation, "simulate", "simulate --profile FILE --plan FILE [--schedule S] [--trace OUT]",
      "motley simulate --profile run/quickstart/profile.json --plan plan.json --trace trace.json", options, "");
  if (!values) {
    return 0;
  }
  const Profile profile = read_profile(profile_file);
  Plan plan = read_plan(plan_file);
  const bool from_file = std::filesystem::path(schedule).extension() == ".csv";
  if (!schedule.empty() && !from_file) {
    plan.schedule = schedule;
  }
  validate(plan, static_cast<int>(profile.model.layers.size()), profile.cluster.size(), plan_file);
  check_wires(plan, profile, plan_file);
  const int devices = profile.cluster.size();
  const Schedule lowered = from_file ? schedule_for(plan, schedule, devices) : schedule_of(plan, devices, true);
  const SimulateOptions with_events{.events = !trace.empty()};
  const Simulation simulation = simulate(lowered, costs_of(plan, profile), with_events);
  const Simulation expected =
      profile.model.has_bursts() ? simulate(lowered, expected_costs_of(plan, profile), with_events) : simulation;
  if (!trace.empty()) {
    write_trace(trace, simulated_events(expected, Seconds{}));
  }
  if (values->contains("json")) {
    nlohmann::json object = {{"iteration_s", simulation.iteration.value},
                             {"expected_s", expected.iteration.value},
                             {"bubble_share", simulation.bubble_share}};
    for (const Bytes bytes : simulation.peak_memory) {
      object["peak_memory_bytes"].push_back(bytes.value);
    }
    std::cout << object << '\n';
    return 0;
  }
  std::cout << fmt::format("iteration {:.3f} s, bubble {:.1f} %{}\n", simulation.iteration.value,
                           simulation.bubble_share * 100, profile.cluster.emulated ? " (emulated devices)" : "");
  if (profile.model.has_bursts()) {
    std::cout << fmt::format("  expected of a run: {:.3f} s, with what devices gain after pauses\n",
                             expected.iteration.value);
  }
  for (std::size_t rank = 0; rank < simulation.busy.size(); ++rank) {
    std::cout << fmt::format("  rank {}: busy {:.3f} s, {} micro-batches in flight, peak memory {:.1f} MB\n", rank,
                             simulation.busy[rank].value, simulation.peak_in_flight[rank],
                             static_cast<double>(simulation.peak_memory[rank].value) / 1e6);
  }
  return 0;
}

}  // namespace motley

#include "motley/schedule/simulate.h"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/launcher/options.h"
#include "motley/launcher/simulated_events.h"
#include "motley/plan/files.h"

namespace motley {

int command_simulate(const Invocation& invocation) {
  po::options_description options("options");
  std::string profile_file;
  std::string plan_file;
  std::string trace;
  options.add_options()("profile", po::value(&profile_file)->required(), "profile.json")(
      "plan", po::value(&plan_file)->required(), "plan.json")(
      "trace", po::value(&trace), "Chrome/Perfetto trace to write")("json", "print one JSON object");
  const auto values =
      parse_options(invocation, "simulate", "simulate --profile FILE --plan FILE [--trace OUT]",
                    "motley simulate --profile run/profile.json --plan run/plan.json --trace trace.json", options, "");
  if (!values) {
    return 0;
  }
  const Profile profile = read_profile(profile_file);
  const Plan plan = read_plan(plan_file);
  validate(plan, static_cast<int>(profile.model.layers.size()), profile.cluster.size(), plan_file);
  const Simulation simulation = simulate(schedule_of(plan, profile.cluster.size(), true), costs_of(plan, profile),
                                         SimulateOptions{.events = !trace.empty()});
  if (!trace.empty()) {
    write_trace(trace, simulated_events(simulation, Seconds{}));
  }
  if (values->contains("json")) {
    nlohmann::json object = {{"iteration_s", simulation.iteration.value}, {"bubble_share", simulation.bubble_share}};
    for (const Bytes bytes : simulation.peak_memory) {
      object["peak_memory_bytes"].push_back(bytes.value);
    }
    std::cout << object << '\n';
    return 0;
  }
  std::cout << fmt::format("iteration {:.3f} s, bubble {:.1f} %{}\n", simulation.iteration.value,
                           simulation.bubble_share * 100, profile.cluster.emulated ? " (emulated devices)" : "");
  for (std::size_t rank = 0; rank < simulation.busy.size(); ++rank) {
    std::cout << fmt::format("  rank {}: busy {:.3f} s, {} micro-batches in flight, peak memory {:.1f} MB\n", rank,
                             simulation.busy[rank].value, simulation.peak_in_flight[rank],
                             static_cast<double>(simulation.peak_memory[rank].value) / 1e6);
  }
  return 0;
}

}  // namespace motley

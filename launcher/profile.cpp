#include "motley/profiler/profiler.h"

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "motley/base/log.h"
#include "motley/base/progress.h"
#include "motley/launcher/config_arguments.h"
#include "motley/launcher/context.h"
#include "motley/launcher/on_ranks.h"
#include "motley/launcher/options.h"
#include "motley/plan/files.h"

namespace motley {

int command_profile(const Invocation& invocation) {
  po::options_description options("options");
  ConfigArguments arguments;
  std::string out;
  arguments.add_to(options);
  options.add_options()("out", po::value(&out), "profile to write (default: RUN_DIRECTORY/profile.json)")(
      "json", "print the profile as one JSON object");
  bool print_json = false;
  const auto prepare = [&]() -> std::optional<RankInputs> {
    const auto values = parse_options(invocation, "profile", "profile CONFIG [--out FILE]",
                                      "mpirun -n 4 motley profile configs/quickstart.toml", options, "config");
    if (!values) {
      return std::nullopt;
    }
    print_json = values->contains("json");
    Config config = arguments.read();
    GpuSupport gpus = find_gpus(config);
    const HostMemory memory = start_device(config);
    Workload workload = workload_of(config, invocation.registry);
    const CommOptions comm = comm_options(config, config.profile.deadline);
    return RankInputs{std::move(config), memory, std::move(workload), comm, std::move(gpus)};
  };
  return on_ranks("motley profile", prepare, [&](RankInputs& inputs, SignalWatch&, Communicator& communicator) {
    const Config& config = inputs.config;
    const int rank = communicator.rank();

    ProfilerOptions profiler;
    profiler.micro_batch_sizes = config.profile.micro_batch_sizes;
    profiler.repeats = config.profile.repeats;
    profiler.noise_limit = config.profile.noise_limit;
    const RankDevice here(std::move(inputs.gpus), config, inputs.memory, communicator);
    profiler.device_type = device_type_of(config, rank, here.type());
    profiler.memory = here.memory(config);
    profiler.seed = config.train.seed;
    profiler.emulated = config.devices.emulated();
    profiler.links = here.links(config);
    profiler.optimizer = optimizer_options(config);
    std::optional<Waiting> waiting;
    if (rank == 0) {
      waiting.emplace("profile");
    }
    const Profile profile = measure(communicator, inputs.workload, here.device(), pacer_of(config, rank), profiler,
                                    [&](const std::string& phase) {
                                      if (waiting) {
                                        waiting->phase(phase);
                                      }
                                    });
    waiting.reset();
    if (rank == 0) {
      const std::filesystem::path file =
          out.empty() ? config.run_directory / "profile.json" : std::filesystem::path(out);
      write_profile(file, profile);
      spdlog::info("profile: wrote {}{}", file.string(),
                   profile.cluster.note.empty() ? "" : " (" + profile.cluster.note + ")");
      if (print_json) {
        std::cout << to_json(profile) << '\n' << std::flush;
      }
    }
  });
}

}  // namespace motley

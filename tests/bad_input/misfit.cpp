// The command line for two models of a user's whose layers do not make a chain.
#include <algorithm>

#include "motley/launcher/command_line.h"
#include "motley/workloads/workload.h"

int main(int argc, char** argv) {
  motley::WorkloadRegistry registry = motley::builtin_workloads();
  const auto router = [](const motley::WorkloadConfig& config, const char* options) {
    motley::WorkloadConfig own = config;
    own.options = motley::workload_options(options);
    return motley::builtin_workloads().make({"router", own.options, config.folder, config.source, nullptr});
  };
  registry.add("misfit", [=](const motley::WorkloadConfig& config) {
    motley::Workload wide = router(config, "data = \"synthetic\"\nwidth = 16\nhidden = 8\nblocks = 1");
    const motley::Workload narrow = router(config, "data = \"synthetic\"\nwidth = 8\nhidden = 8\nblocks = 1");
    std::copy(narrow.layers.begin() + 1, narrow.layers.end(), wide.layers.begin() + 1);
    return wide;
  });
  registry.add("headless", [=](const motley::WorkloadConfig& config) {
    motley::Workload whole = router(config, "data = \"synthetic\"\nwidth = 16\nhidden = 8\nblocks = 1");
    whole.layers.pop_back();
    return whole;
  });
  return motley::run_command_line(argc, argv, registry);
}

#include "motley/profiler/profiler.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "motley/plan/files.h"
#include "ranks.h"

namespace motley {
namespace {

TEST(Measure, GivesACompleteProfileThatReadsBackFromItsFile) {
  const HostMemory memory = HostMemory::install();
  const Workload workload = builtin_workloads().make(
      {.name = "router",
       .options = workload_options("data = \"synthetic\"\nsamples = 64\nwidth = 16\nhidden = 16"
                                   "\nblocks = 2"),
       .folder = {}});
  Profile profile;
  std::vector<std::string> phases;
  run_ranks(1, with_deadline(20), [&](Communicator& communicator) {
    ProfilerOptions options;
    options.micro_batch_sizes = {4, 8};
    options.repeats = 3;
    options.device_type = "cpu";
    options.memory = Bytes{123'000'000};
    options.noise_limit = 1e9;
    profile = measure(communicator, workload, *host_device(memory), Pacer(), options,
                      [&](const std::string& phase) { phases.push_back(phase); });
  });
  EXPECT_FALSE(phases.empty());
  EXPECT_EQ(profile.cluster.note, "");
  ASSERT_EQ(profile.model.layers.size(), 4U);
  EXPECT_GT(profile.model.base_memory.value, 0);
  const DeviceTable& table = profile.model.device("cpu");
  for (const DeviceTimes* times : {&table.alone, &table.busy}) {
    ASSERT_EQ(times->by_size.size(), 2U);
    for (const std::vector<LayerTimes>& row : times->by_size) {
      for (const LayerTimes& t : row) {
        EXPECT_GT(t.forward.value, 0.0);
        EXPECT_GT(t.backward.value, 0.0);
        EXPECT_GT(t.backward_input.value, 0.0);
        EXPECT_GT(t.backward_weight.value, 0.0);
      }
    }
    for (const Seconds update : times->update) {
      EXPECT_GT(update.value, 0.0);
    }
  }
  EXPECT_GT(profile.cluster.action_overhead.value, 0.0);
  const Profile again = profile_from_json(to_json(profile), "test");
  EXPECT_EQ(fingerprint(again), fingerprint(profile));
}

TEST(Measure, TellsWhatStaysTooNoisyToTrust) {
  const HostMemory memory = HostMemory::install();
  const Workload workload =
      builtin_workloads().make({.name = "router",
                                .options = workload_options("data = \"synthetic\"\nsamples = 64\nwidth = 8\nhidden = 8"
                                                            "\nblocks = 1"),
                                .folder = {}});
  Profile profile;
  bool again = false;
  run_ranks(1, with_deadline(20), [&](Communicator& communicator) {
    ProfilerOptions options;
    options.micro_batch_sizes = {4};
    options.repeats = 5;
    options.device_type = "cpu";
    options.noise_limit = 0.0;  // no machine is so quiet
    profile = measure(communicator, workload, *host_device(memory), Pacer(), options,
                      [&](const std::string& phase) { again = again || phase.find("again") != std::string::npos; });
  });
  EXPECT_TRUE(again);
  EXPECT_NE(profile.cluster.note.find("rank0: passes spread by"), std::string::npos);
}

}  // namespace
}  // namespace motley

#include "motley/partitioner/replay.h"

#include <gtest/gtest.h>

#include <random>

#include "instances.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

void expect_equal(const Plan& plan, const Profile& profile, bool clip) {
  ASSERT_TRUE(can_replay(plan, profile));
  const Priced simulated = price_by_simulation(plan, profile, clip);
  const Priced replayed = replay(plan, profile, clip);
  EXPECT_EQ(replayed.prediction.iteration, simulated.prediction.iteration);
  EXPECT_EQ(replayed.prediction.bottleneck, simulated.prediction.bottleneck);
  EXPECT_EQ(replayed.prediction.usd_per_sample, simulated.prediction.usd_per_sample);
  EXPECT_EQ(replayed.prediction.bubble_share, simulated.prediction.bubble_share);
  EXPECT_EQ(replayed.prediction.stage_busy, simulated.prediction.stage_busy);
  EXPECT_EQ(replayed.prediction.edge_time, simulated.prediction.edge_time);
  EXPECT_EQ(replayed.prediction.stage_memory, simulated.prediction.stage_memory);
  ASSERT_EQ(replayed.shortfall.has_value(), simulated.shortfall.has_value());
  if (simulated.shortfall) {
    EXPECT_EQ(replayed.shortfall->missing, simulated.shortfall->missing);
  }
}

TEST(Replay, IsTheSimulatorToTheLastBit) {
  int compared = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    Instance instance = random_instance(seed);
    const int layers = static_cast<int>(instance.profile.model.layers.size());
    std::mt19937_64 engine(seed);
    const auto below = [&](int n) { return static_cast<int>(engine() % static_cast<std::uint64_t>(n)); };
    const int most = std::min(layers, instance.profile.cluster.size());
    for (int tries = 0; tries < 4; ++tries) {
      const int stages = 1 + below(most);
      std::vector<int> cuts = {0};
      for (int s = 1; s < stages; ++s) cuts.push_back(cuts.back() + 1 + below(layers - cuts.back() - (stages - s)));
      cuts.push_back(layers);
      std::vector<int> devices;
      while (static_cast<int>(devices.size()) < stages) {
        const int device = below(instance.profile.cluster.size());
        if (std::find(devices.begin(), devices.end(), device) == devices.end()) devices.push_back(device);
      }
      std::vector<int> depths(stages, 1);
      for (int s = stages - 1; s-- > 0;) depths[s] = depths[s + 1] + 1 + below(1 + kMostExtraWarmUp);
      for (const std::int64_t size : instance.profile.model.micro_batch_sizes) {
        const std::int64_t batch = size * (1 + below(30));
        expect_equal(make_plan(cuts, devices, depths, size, batch, "1f1b"), instance.profile, instance.options.clip);
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 3000);
}

TEST(Replay, LeavesWhatItDoesNotKnowToTheSimulator) {
  Profile profile = plain_profile(4, {0, 0});
  SearchOptions options;
  options.global_batch = 4;
  Plan plan = found(find_plan("uniform", profile, options)).plan;
  EXPECT_TRUE(can_replay(plan, profile));
  plan.schedule = "gpipe";
  EXPECT_FALSE(can_replay(plan, profile));
  plan.schedule = "1f1b";
  plan.stages[0].recompute = true;
  EXPECT_FALSE(can_replay(plan, profile));
  plan.stages[0].recompute = false;
  profile.cluster.hosts.push_back({"host0", "", BytesPerSecond{1e9}, {}});
  EXPECT_FALSE(can_replay(plan, profile));
}

}  // namespace
}  // namespace motley

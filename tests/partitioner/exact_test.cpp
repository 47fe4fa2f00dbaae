#include "motley/partitioner/exact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/partitioner/brute_force.h"
#include "motley/partitioner/check.h"

namespace motley {
namespace {

std::vector<int> devices_of(const Plan& plan) {
  std::vector<int> devices;
  for (const StagePlan& stage : plan.stages) devices.push_back(stage.replicas.front().device);
  return devices;
}

SearchOptions batch(std::int64_t samples) {
  SearchOptions options;
  options.global_batch = samples;
  return options;
}

TEST(Exact, EqualsBruteForceOverSimulatedPlans) {
  int infeasible = 0;
  int memory_binds = 0;
  int deeper = 0;
  int several_stages = 0;
  for (std::uint64_t seed = 1; seed <= 600; ++seed) {
    const Instance instance = random_instance(seed);
    const SearchResult exact = find_plan("exact", instance.profile, instance.options);
    const SearchResult oracle = find_plan("brute-force", instance.profile, instance.options);
    ASSERT_EQ(exact.index(), oracle.index()) << "seed " << seed;
    if (std::holds_alternative<Infeasible>(exact)) {
      ++infeasible;
      continue;
    }
    const Plan& plan = std::get<Found>(exact).plan;
    const double expected = std::get<Found>(oracle).plan.prediction->iteration.value;
    ASSERT_NEAR(plan.prediction->iteration.value, expected, 1e-12 * expected) << "seed " << seed;
    ASSERT_EQ(plan.certificate->lower_bound, plan.prediction->iteration);
    ASSERT_EQ(plan.certificate->gap, 0.0);
    ASSERT_THAT(check(plan, instance.profile, instance.options), testing::IsEmpty()) << "seed " << seed;
    Instance roomy = instance;
    for (Device& device : roomy.profile.cluster.devices) device.memory = Bytes{1'000'000'000};
    const double unlimited = found(find_plan("exact", roomy.profile, roomy.options)).plan.prediction->iteration.value;
    if (unlimited < expected * (1.0 - 1e-9)) ++memory_binds;
    if (plan.schedule == "1f1b" && plan.stages.front().warm_up > plan.stage_count()) ++deeper;
    if (plan.stage_count() > 1) ++several_stages;
  }
  // The instances exercise what they are for.
  EXPECT_GT(infeasible, 10);
  EXPECT_GT(memory_binds, 60);
  EXPECT_GT(deeper, 20);
  EXPECT_GT(several_stages, 200);
}

TEST(Exact, LowerBoundHoldsWhenTheBudgetRunsOut) {
  int open = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Instance instance = random_instance(seed);
    const SearchResult whole = find_plan("exact", instance.profile, instance.options);
    instance.options.max_expansions = 400;
    const SearchResult cut_off = find_plan("exact", instance.profile, instance.options);
    if (!std::holds_alternative<Found>(cut_off)) continue;
    const Plan& plan = std::get<Found>(cut_off).plan;
    const double optimum = std::get<Found>(whole).plan.prediction->iteration.value;
    EXPECT_LE(plan.certificate->lower_bound.value, optimum * (1.0 + 1e-12)) << "seed " << seed;
    EXPECT_NEAR(plan.certificate->gap, plan.prediction->iteration.value / plan.certificate->lower_bound.value - 1.0,
                1e-12);
    if (plan.certificate->gap > 0.0) ++open;
  }
  EXPECT_GT(open, 5);
}

TEST(Exact, NamesTheNearestMissWhenNothingFits) {
  Profile profile = plain_profile(4, {0, 0});
  profile.cluster.devices[0].memory = Bytes{9'000};
  profile.cluster.devices[1].memory = Bytes{8'500};
  // Two layers hold 8000 bytes of weights, gradients and state, and save 2000 a micro-batch in flight: the last stage
  // needs 10000, the one before 12000. Anything else lacks more.
  const SearchResult result = find_plan("exact", profile, batch(4));
  ASSERT_TRUE(std::holds_alternative<Infeasible>(result));
  const Infeasible& infeasible = std::get<Infeasible>(result);
  const SearchResult oracle = find_plan("brute-force", profile, batch(4));
  EXPECT_EQ(infeasible.missing, std::get<Infeasible>(oracle).missing);
  EXPECT_GE(infeasible.missing, Bytes{3'000});
  ASSERT_GE(infeasible.device, 0);
  EXPECT_THAT(infeasible.reason, testing::HasSubstr(profile.cluster.devices[infeasible.device].name));
  EXPECT_THAT(infeasible.reason, testing::HasSubstr("stage of layers ["));
  EXPECT_THAT(infeasible.reason, testing::HasSubstr("lacks"));
}

TEST(Exact, LeavesOutADeviceThatWouldOnlySlowTheRest) {
  const Profile profile = plain_profile(4, {0, 40, 0});
  const Plan plan = found(find_plan("exact", profile, batch(8))).plan;
  EXPECT_THAT(devices_of(plan), testing::UnorderedElementsAre(0, 2));
  SearchOptions all = batch(8);
  all.use_all_devices = true;
  const Plan forced = found(find_plan("exact", profile, all)).plan;
  EXPECT_EQ(forced.stage_count(), 3);
  EXPECT_GT(forced.prediction->iteration, plan.prediction->iteration);
}

TEST(Exact, GoesRoundASlowDirectedLink) {
  Profile profile = plain_profile(6, {0, 0, 0});
  const TransferCurve slow(Seconds{20e-3}, BytesPerSecond{1e6});
  profile.cluster.links[0][1] = profile.cluster.links[1][2] = slow;
  profile.cluster.links[1][0] = profile.cluster.links[2][1] = slow;
  // Only 0 - 2 is fast, so device 1 is either unused or at an end behind a slow link.
  const Plan plan = found(find_plan("exact", profile, batch(8))).plan;
  EXPECT_THAT(devices_of(plan), testing::UnorderedElementsAre(0, 2));
  SearchOptions in_order = batch(8);
  in_order.any_order = false;
  EXPECT_GT(found(find_plan("exact", profile, in_order)).plan.prediction->iteration, plan.prediction->iteration);
}

TEST(Exact, WarmsUpDeeperOnlyWhereALinkIsSlowAndMemoryAllows) {
  Profile profile = plain_profile(2, {0, 0}, 0.5e6);  // 2 ms a message, as long as a backward
  const Plan deep = found(find_plan("exact", profile, batch(12))).plan;
  ASSERT_EQ(deep.stage_count(), 2);
  EXPECT_GT(deep.stages.front().warm_up, 2);
  for (Device& device : profile.cluster.devices) device.memory = deep.prediction->stage_memory[0] - Bytes{1};
  const Plan shallow = found(find_plan("exact", profile, batch(12))).plan;
  EXPECT_LT(shallow.stages.front().warm_up, deep.stages.front().warm_up);
  EXPECT_GT(shallow.prediction->iteration, deep.prediction->iteration);
}

TEST(Exact, RelabellingDevicesChangesNothing) {
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    Instance instance = random_instance(seed);
    if (!instance.options.any_order) continue;
    const SearchResult before = find_plan("exact", instance.profile, instance.options);
    std::vector<int> order(instance.profile.cluster.devices.size());
    std::iota(order.rbegin(), order.rend(), 0);
    const SearchResult after = find_plan("exact", reordered(instance.profile, order), instance.options);
    ASSERT_EQ(before.index(), after.index());
    if (!std::holds_alternative<Found>(before)) continue;
    const double expected = std::get<Found>(before).plan.prediction->iteration.value;
    EXPECT_NEAR(std::get<Found>(after).plan.prediction->iteration.value, expected, 1e-12 * expected);
  }
}

TEST(Exact, MoreBandwidthNeverMakesTheOptimumWorse) {
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    const Instance instance = random_instance(seed);
    const SearchResult before = find_plan("exact", instance.profile, instance.options);
    if (!std::holds_alternative<Found>(before)) continue;
    const Found after = found(find_plan("exact", with_faster_links(instance.profile, 3.0), instance.options));
    EXPECT_LE(after.plan.prediction->iteration.value,
              std::get<Found>(before).plan.prediction->iteration.value * (1.0 + 1e-12))
        << "seed " << seed;
  }
}

TEST(Exact, SolvesAClusterOfManyEqualDevices) {
  // 8! orders of equal devices are one.
  const Profile profile = plain_profile(16, std::vector<int>(8, 0));
  const Found result = found(find_plan("exact", profile, batch(32)));
  EXPECT_EQ(result.plan.stage_count(), 8);
  EXPECT_EQ(result.plan.certificate->gap, 0.0);
  EXPECT_LT(result.statistics.expansions, 200'000);
}

TEST(BruteForce, RefusesASpaceThatIsTooLarge) {
  const Profile profile = plain_profile(20, {0, 1, 2, 3});
  try {
    static_cast<void>(find_plan("brute-force", profile, batch(8)));
    FAIL() << "did not throw";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("200000"));
  }
}

TEST(BruteForce, CountsCutsTimesOrdersTimesDepths) {
  SearchOptions options = batch(100);
  // 2 devices, 3 layers: one stage on either; 2 cuts, 2 orders, 3 depths of the first stage.
  EXPECT_EQ(count_plans(plain_profile(3, {0, 0}), options), 2 + 2 * 2 * 3);
  options.schedules = {"gpipe"};
  EXPECT_EQ(count_plans(plain_profile(3, {0, 0}), options), 2 + 2 * 2);
  // With two micro-batches every depth of 2 or more is the same schedule.
  EXPECT_EQ(count_plans(plain_profile(3, {0, 0}), batch(2)), 2 + 2 * 2);
}

}  // namespace
}  // namespace motley

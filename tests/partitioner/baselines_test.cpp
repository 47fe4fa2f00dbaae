#include "motley/partitioner/baselines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int> ends_of(const Plan& plan) {
  std::vector<int> ends;
  for (const StagePlan& stage : plan.stages) ends.push_back(stage.end_layer);
  return ends;
}

std::string error_of(const std::string& planner, const Profile& profile, const SearchOptions& options) {
  try {
    static_cast<void>(find_plan(planner, profile, options));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

SearchOptions batch(std::int64_t samples) {
  SearchOptions options;
  options.global_batch = samples;
  return options;
}

TEST(Uniform, GivesEveryDeviceEqualLayersAndTheFirstTheRemainder) {
  const Plan plan = found(find_plan("uniform", plain_profile(8, {0, 1, 2}), batch(4))).plan;
  EXPECT_THAT(ends_of(plan), ElementsAre(3, 6, 8));
  for (int s = 0; s < 3; ++s) {
    EXPECT_EQ(plan.stages[s].replicas.front().device, s);
    EXPECT_EQ(plan.stages[s].warm_up, 3 - s);
  }
}

TEST(Uniform, UsesAsManyDevicesAsThereAreLayers) {
  EXPECT_EQ(found(find_plan("uniform", plain_profile(2, {0, 0, 0}), batch(4))).plan.stage_count(), 2);
}

TEST(Parameters, MakesTheLargestSumLeast) {
  Profile profile = plain_profile(6, {0, 0, 0});
  const std::int64_t sizes[] = {9, 1, 1, 1, 5, 6};
  for (int layer = 0; layer < 6; ++layer) profile.model.layers[layer].parameters = Bytes{sizes[layer]};
  // 9 | 1 1 1 5 | 6 has largest sum 9; no cut into three has less, and only this one has it.
  EXPECT_THAT(ends_of(found(find_plan("parameters", profile, batch(4))).plan), ElementsAre(1, 5, 6));
}

TEST(Single, TakesTheFastestDeviceThatTheModelFitsOn) {
  Profile profile = plain_profile(4, {2, 0, 1});
  EXPECT_EQ(found(find_plan("single", profile, batch(4))).plan.stages.front().replicas.front().device, 1);
  profile.cluster.devices[1].memory = Bytes{100};
  const Plan plan = found(find_plan("single", profile, batch(4))).plan;
  EXPECT_EQ(plan.stage_count(), 1);
  EXPECT_EQ(plan.stages.front().replicas.front().device, 2);
}

/// Layers of so many milliseconds forward and as many backward on every device.
Profile profile_of(const std::vector<double>& milliseconds, const std::vector<int>& types, double rate) {
  Profile profile = plain_profile(static_cast<int>(milliseconds.size()), types, rate);
  for (auto& [type, table] : profile.model.devices) {
    for (DeviceTimes* times : {&table.alone, &table.busy}) {
      for (std::vector<LayerTimes>& of_size : times->by_size) {
        for (std::size_t layer = 0; layer < of_size.size(); ++layer) {
          const Seconds time{milliseconds[layer] * 1e-3};
          of_size[layer] = {time, time * 0.5, time * 0.5, time, 0.0};
        }
      }
    }
  }
  return profile;
}

constexpr double kFastLink = 1e12;

TEST(Flops, MakesTheSlowestStageLeast) {
  // 6 | 1 1 1 3 | 5 has 6 at most; every other cut has more.
  EXPECT_THAT(ends_of(found(find_plan("flops", profile_of({6, 1, 1, 1, 3, 5}, {0, 0, 0}, kFastLink), batch(4))).plan),
              ElementsAre(1, 5, 6));
}

TEST(Greedy, GivesTheFastestDeviceMostAndFirst) {
  // Device 1 is three times as fast as device 0: 6 of 8 layers.
  const Plan plan = found(find_plan("greedy", plain_profile(8, {2, 0}), batch(4))).plan;
  EXPECT_THAT(ends_of(plan), ElementsAre(6, 8));
  EXPECT_EQ(plan.stages[0].replicas.front().device, 1);
  EXPECT_EQ(plan.stages[1].replicas.front().device, 0);
}

TEST(PipeDream, MakesTheSlowestStageLeastAndLeavesSlowMessagesOut) {
  EXPECT_THAT(
      ends_of(found(find_plan("pipedream", profile_of({6, 1, 1, 1, 3, 5}, {0, 0, 0}, kFastLink), batch(4))).plan),
      ElementsAre(1, 5, 6));
  // The best cut of two equal halves has a message that takes longer than the stages.
  Profile profile = profile_of({2, 2, 2, 2}, {0, 0}, 1e6);
  profile.model.layers[1].output[0].shape = {2500};
  EXPECT_THAT(ends_of(found(find_plan("pipedream", profile, batch(4))).plan), testing::Not(ElementsAre(2, 4)));
}

TEST(PipeDream, GivesAHeavyLayerReplicasWhereTheyAreAllowed) {
  Profile profile = profile_of({2, 6}, {0, 0, 0, 0}, kFastLink);
  profile.model.micro_batch_sizes = {1, 3};
  for (LayerProfile& layer : profile.model.layers) layer.memory.push_back(layer.memory.front());
  for (auto& [type, table] : profile.model.devices) {
    for (DeviceTimes* times : {&table.alone, &table.busy}) times->by_size.push_back(times->by_size.front());
  }
  SearchOptions options = batch(12);
  options.micro_batch_sizes = {3};
  options.share_unit = 1;
  EXPECT_EQ(found(find_plan("pipedream", profile, options)).plan.stages.back().replicas.size(), 1U);
  options.allow = {"replicas"};
  const Plan plan = found(find_plan("pipedream", profile, options)).plan;
  EXPECT_THAT(ends_of(plan), ElementsAre(1, 2));
  EXPECT_EQ(plan.stages[0].replicas.size(), 1U);
  EXPECT_EQ(plan.stages[1].replicas.size(), 3U);
}

TEST(Dapple, CutsOnlyWhereItsFormulaGains) {
  // One micro-batch: nothing overlaps, a cut only adds messages. Many: equal halves.
  const Profile profile = profile_of({2, 2, 2, 2}, {0, 0}, 1e9);
  EXPECT_THAT(ends_of(found(find_plan("dapple", profile, batch(1))).plan), ElementsAre(4));
  EXPECT_THAT(ends_of(found(find_plan("dapple", profile, batch(32))).plan), ElementsAre(2, 4));
}

TEST(Baselines, AreNeverBelowTheBoundOfTheirSpace) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Instance instance = random_instance(seed);
    if (instance.options.use_all_devices) continue;  // not all of them keep to it
    const SearchResult exact = find_plan("exact", instance.profile, instance.options);
    if (!std::holds_alternative<Found>(exact)) continue;
    const double bound = std::get<Found>(exact).plan.certificate->lower_bound.value;
    for (const char* planner : {"flops", "greedy", "random", "pipedream", "dapple"}) {
      const SearchResult result = find_plan(planner, instance.profile, instance.options);
      if (!std::holds_alternative<Found>(result)) continue;
      EXPECT_GE(std::get<Found>(result).plan.prediction->iteration.value, bound * (1 - 1e-9)) << planner << ' ' << seed;
      const SearchResult again = find_plan(planner, instance.profile, instance.options);
      EXPECT_EQ(std::get<Found>(again).plan.stages, std::get<Found>(result).plan.stages) << planner;
    }
  }
}

TEST(Baselines, ChooseTheMicroBatchSizeBySimulation) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Instance instance = random_instance(seed);
    for (const char* planner : {"uniform", "parameters", "single"}) {
      const SearchResult free_choice = find_plan(planner, instance.profile, instance.options);
      if (!std::holds_alternative<Found>(free_choice)) continue;
      SearchOptions one_size = instance.options;
      one_size.micro_batch_sizes = {1};
      const SearchResult forced = find_plan(planner, instance.profile, one_size);
      if (!std::holds_alternative<Found>(forced)) continue;
      EXPECT_LE(std::get<Found>(free_choice).plan.prediction->iteration,
                std::get<Found>(forced).plan.prediction->iteration);
    }
  }
}

TEST(Planners, AllCarryPredictionFingerprintsAndName) {
  Profile profile = plain_profile(5, {0, 1});
  profile.cluster.emulated = true;
  for (const std::string& planner : planner_names()) {
    const Plan plan = found(find_plan(planner, profile, batch(4))).plan;
    EXPECT_EQ(plan.planner, planner);
    EXPECT_TRUE(plan.emulated);
    EXPECT_EQ(plan.profile_fingerprint, fingerprint(profile));
    EXPECT_EQ(plan.model_fingerprint, model_fingerprint(profile.model));
    ASSERT_TRUE(plan.prediction.has_value());
    EXPECT_EQ(plan.prediction->iteration, simulate(schedule_of(plan, 2, true), costs_of(plan, profile)).iteration);
    EXPECT_EQ(plan.prediction->stage_busy.size(), plan.stages.size());
    EXPECT_EQ(plan.prediction->edge_time.size(), plan.stages.size() - 1);
    EXPECT_EQ(plan.prediction->stage_memory.size(), plan.stages.size());
    EXPECT_EQ(plan.certificate.has_value(),
              planner == "exact" || planner == "parametric" || planner == "tailored" || planner == "brute-force");
  }
}

TEST(Planners, AnswerInfeasibleWithDeviceLayersAndBytes) {
  Profile profile = plain_profile(4, {0, 0});
  for (Device& device : profile.cluster.devices) device.memory = Bytes{10};
  for (const std::string& planner : planner_names()) {
    const SearchResult result = find_plan(planner, profile, batch(4));
    ASSERT_TRUE(std::holds_alternative<Infeasible>(result)) << planner;
    EXPECT_GT(std::get<Infeasible>(result).missing, Bytes{0});
    EXPECT_THAT(std::get<Infeasible>(result).reason, HasSubstr("rank"));
    EXPECT_THAT(std::get<Infeasible>(result).reason, HasSubstr("stage of layers ["));
  }
}

TEST(Planners, AnUnknownNameIsAnsweredWithTheNearest) {
  const Profile profile = plain_profile(2, {0});
  EXPECT_THAT(error_of("exakt", profile, batch(1)), HasSubstr("did you mean \"exact\""));
  EXPECT_THAT(error_of("uniforn", profile, batch(1)), HasSubstr("did you mean \"uniform\""));
  EXPECT_THAT(error_of("brute_force", profile, batch(1)), HasSubstr("did you mean \"brute-force\""));
}

TEST(Planners, RefuseABatchThatNoSizeDivides) {
  Profile profile = plain_profile(2, {0});
  profile.model.micro_batch_sizes = {4};
  EXPECT_THAT(error_of("exact", profile, batch(6)), testing::AllOf(HasSubstr("global_batch: 6"), HasSubstr("sizes 4")));
  EXPECT_THAT(error_of("uniform", profile, batch(0)), HasSubstr("global_batch: 0"));
}

TEST(Planners, RefuseASizeThatWasNotProfiled) {
  SearchOptions options = batch(4);
  options.micro_batch_sizes = {2};
  EXPECT_THAT(error_of("exact", plain_profile(2, {0}), options), HasSubstr("2"));
}

TEST(Planners, RefuseAScheduleTheSpaceDoesNotHave) {
  SearchOptions options = batch(4);
  options.schedules = {"zb-h1"};
  EXPECT_THAT(error_of("exact", plain_profile(2, {0}), options), HasSubstr("zb-h1"));
}

TEST(Planners, ThatGiveADeviceOneStageRefuseToInterleave) {
  SearchOptions options = batch(4);
  options.schedules = {"interleaved-1f1b"};
  const Profile profile = plain_profile(4, {0, 0});
  for (const char* planner : {"uniform", "single", "random", "pipedream", "dapple"}) {
    EXPECT_THAT(error_of(planner, profile, options), testing::AllOf(HasSubstr("interleaved-1f1b"), HasSubstr(planner)));
  }
  options.schedules = {"1f1b", "interleaved-1f1b"};
  EXPECT_EQ(found(find_plan("uniform", profile, options)).plan.schedule, "1f1b");
}

}  // namespace
}  // namespace motley

#include "motley/partitioner/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "instances.h"
#include "motley/base/error.h"

namespace motley {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class Check : public testing::Test {
 protected:
  Check() : profile_(plain_profile(6, {0, 1, 0})) {
    options_.global_batch = 8;
    plan_ = found(find_plan("exact", profile_, options_)).plan;
  }
  std::vector<std::string> problems() const { return check(plan_, profile_, options_); }

  Profile profile_;
  SearchOptions options_;
  Plan plan_;
};

TEST_F(Check, FindsNothingWrongWithASoundPlan) {
  EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(Check, FindsNothingWrongWithAHandWrittenPlan) {
  plan_.prediction.reset();
  plan_.certificate.reset();
  plan_.profile_fingerprint.clear();
  plan_.model_fingerprint.clear();
  EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(Check, CatchesAWireFormatThatADeviceLacks) {
  profile_.model.devices.begin()->second.lacks = {"int8"};
  plan_.profile_fingerprint = fingerprint(profile_);
  EXPECT_THAT(problems(), IsEmpty());
  ASSERT_GT(plan_.stages.size(), 1U);
  plan_.stages.front().wire = "int8";
  EXPECT_THAT(problems(), Contains(HasSubstr("plan: stages[0].wire: found \"int8\", expected a format that both ends "
                                             "have")));
}

TEST_F(Check, NoSearchUsesAWireFormatThatADeviceLacks) {
  options_.allow = {"bfloat16", "int8"};
  profile_.model.devices.begin()->second.lacks = {"int8"};
  for (const char* const planner : {"exact", "parametric", "tailored", "uniform"}) {
    try {
      (void)find_plan(planner, profile_, options_);
      FAIL() << planner;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("allow: found \"int8\", expected wire formats that every device has"));
    }
  }
  options_.allow = {"bfloat16"};
  EXPECT_NO_THROW((void)find_plan("exact", profile_, options_));
}

TEST_F(Check, CatchesAWrongIterationTime) {
  plan_.prediction->iteration = plan_.prediction->iteration * 0.99;
  EXPECT_THAT(problems(), Contains(HasSubstr("prediction.iteration")));
}

TEST_F(Check, CatchesABoundAboveThePlan) {
  plan_.certificate->lower_bound = plan_.prediction->iteration * 1.01;
  plan_.certificate->gap = 1.0 / 1.01 - 1.0;
  EXPECT_THAT(problems(), Contains(HasSubstr("above this plan's own")));
}

TEST_F(Check, CatchesAGapThatDoesNotFollow) {
  plan_.certificate->lower_bound = plan_.prediction->iteration * 0.5;
  EXPECT_THAT(problems(), Contains(HasSubstr("certificate.gap")));
}

TEST_F(Check, CatchesABoundAboveABaseline) {
  // A bad plan that calls itself optimal: everything on the slow device.
  for (StagePlan& stage : plan_.stages) stage.replicas.front().device = 1;
  plan_.stages = {plan_.stages.front()};
  plan_.stages.front().end_layer = 6;
  plan_.stages.front().warm_up = 1;
  plan_.prediction.reset();
  plan_.certificate->lower_bound = Seconds{6 * 8 * 6e-3};  // 8 micro-batches, 6 layers, 2 + 4 ms
  plan_.certificate->gap = 0.0;
  EXPECT_THAT(problems(), Contains(HasSubstr("of planner uniform")));
}

TEST_F(Check, CatchesMemoryThatIsNotThere) {
  profile_.cluster.devices[plan_.stages.front().replicas.front().device].memory = Bytes{5'000};
  EXPECT_THAT(problems(), Contains(HasSubstr("lacks")));
  EXPECT_THAT(problems(), Contains(HasSubstr("profile_fingerprint")));
}

TEST_F(Check, CatchesWrongPeaksAndCounts) {
  plan_.prediction->stage_memory.front() += Bytes{1};
  EXPECT_THAT(problems(), Contains(HasSubstr("prediction.stage_memory")));
  options_.global_batch = 16;
  EXPECT_THAT(problems(), Contains(HasSubstr("micro_batches")));
}

TEST_F(Check, CatchesEveryWrongFigureOfThePrediction) {
  const Plan sound = plan_;
  const auto wrong = [&](const std::string& field, auto spoil) {
    plan_ = sound;
    spoil(*plan_.prediction);
    EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("prediction." + field))) << field;
  };
  wrong("bubble_share", [](Prediction& of) { of.bubble_share += 0.01; });
  wrong("expected", [](Prediction& of) { of.expected = of.expected * 0.99; });
  wrong("bottleneck", [](Prediction& of) { of.bottleneck = of.bottleneck * 1.01; });
  wrong("usd_per_sample", [](Prediction& of) { of.usd_per_sample += 1.0; });
  wrong("stage_busy[0]", [](Prediction& of) { of.stage_busy.front() = of.stage_busy.front() * 1.01; });
  wrong("stage_busy", [](Prediction& of) { of.stage_busy.emplace_back(); });
  ASSERT_GT(sound.stages.size(), 1u);
  wrong("edge_time[0]", [](Prediction& of) { of.edge_time.front() = Seconds{1.0}; });
}

TEST_F(Check, ProvesTheSameWhateverDevicesGainAfterPauses) {
  const Plan without = plan_;
  for (auto& [type, table] : profile_.model.devices) {
    table.burst = {table.busy.by_size[0][0].forward * 0.5, 4.0};
  }
  for (const std::string planner : {"exact", "parametric", "tailored", "uniform"}) {
    plan_ = found(find_plan(planner, profile_, options_)).plan;
    EXPECT_THAT(problems(), IsEmpty()) << planner;
    EXPECT_LE(plan_.prediction->expected, plan_.prediction->iteration) << planner;
    if (planner == "uniform") {
      EXPECT_LT(plan_.prediction->expected, plan_.prediction->iteration);
      // Stages that wait gain.
      const std::vector<Seconds>& busy = plan_.prediction->stage_busy;
      const std::size_t busiest = static_cast<std::size_t>(std::max_element(busy.begin(), busy.end()) - busy.begin());
      ASSERT_EQ(plan_.prediction->expected_busy.size(), busy.size());
      for (std::size_t s = 0; s < busy.size(); ++s) {
        EXPECT_LE(plan_.prediction->expected_busy_of(s), busy[s]);
        if (s != busiest) EXPECT_LT(plan_.prediction->expected_busy_of(s), busy[s]);
      }
      plan_.prediction->expected_busy.front() = busy.front() * 0.5;
      EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("prediction.expected_busy[0]")));
    }
    if (planner == "exact") {
      EXPECT_EQ(plan_.prediction->iteration, without.prediction->iteration);
      EXPECT_EQ(plan_.certificate->lower_bound, without.certificate->lower_bound);
    }
  }
}

TEST_F(Check, CatchesAnotherProfilesOrModelsFingerprint) {
  plan_.profile_fingerprint = "0";
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("profile_fingerprint: 0 found")));
  plan_ = found(find_plan("exact", profile_, options_)).plan;
  plan_.model_fingerprint = "0";
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("model_fingerprint: 0 found")));
  plan_ = found(find_plan("exact", profile_, options_)).plan;
  plan_.emulated = !plan_.emulated;
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("emulated")));
}

TEST_F(Check, CatchesBoundsThatMakeNoSense) {
  plan_.certificate->lower_bound = Seconds{};
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("lower_bound: 0 s found, more than 0 expected")));
  plan_ = found(find_plan("exact", profile_, options_)).plan;
  plan_.certificate->objective = "cost";
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("objective: cost found, iteration expected")));
  plan_ = found(find_plan("exact", profile_, options_)).plan;
  plan_.certificate->proven_bound = plan_.certificate->lower_bound * 1.01;
  EXPECT_THAT(problems(), Contains(HasSubstr("proven_bound")));
}

TEST_F(Check, CatchesAPlanThatLeavesLayersOut) {
  plan_.stages.back().end_layer = 5;
  EXPECT_THAT(problems(), testing::SizeIs(1));
}

TEST_F(Check, ShowsASmallSpaceByEnumerationAndFindsABoundThatIsALittleTooHigh) {
  Checked checked = check_plan(plan_, profile_, space_of(plan_));
  EXPECT_THAT(checked.problems, IsEmpty());
  EXPECT_THAT(checked.how, HasSubstr("enumerating"));
  EXPECT_NEAR(checked.proven_bound.value, plan_.prediction->iteration.value, 1e-12);
  // Not the best plan, which calls a bound its own that is just above the best.
  Plan other = found(find_plan("exact", profile_, options_)).runners_up.back();
  ASSERT_GT(other.prediction->iteration, plan_.prediction->iteration);
  other.certificate = plan_.certificate;
  const double bound = plan_.prediction->iteration.value * 1.00001;
  other.certificate->lower_bound = Seconds{bound};
  other.certificate->gap = other.prediction->iteration.value / bound - 1.0;
  EXPECT_THAT(check(other, profile_, options_), Contains(HasSubstr("an enumerated plan")));
}

TEST_F(Check, CatchesAnotherSpace) {
  plan_.certificate->space = "all plans that there are";
  EXPECT_THAT(problems(), Contains(HasSubstr("certificate.space")));
  plan_ = found(find_plan("exact", profile_, options_)).plan;
  plan_.certificate->asked.max_stages = 2;
  EXPECT_THAT(problems(), Contains(HasSubstr("certificate.asked")));
}

}  // namespace
}  // namespace motley

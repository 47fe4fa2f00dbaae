#include "motley/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "motley/base/error.h"
#include "motley/plan/features.h"

namespace motley {
namespace {

Plan two_stages() {
  Plan plan;
  plan.micro_batch_size = 4;
  plan.micro_batches = 2;
  plan.stages = {{0, 2, {{1, 0, 4}}, 2, false, "float32"}, {2, 5, {{0, 0, 4}}, 1, false, "float32"}};
  return plan;
}

std::string complaint(const std::function<void(Plan&)>& change) {
  Plan plan = two_stages();
  change(plan);
  try {
    validate(plan, 5, 2, "plan.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(PlanValidation, AcceptsAPlanThatCoversTheModel) {
  EXPECT_EQ(complaint([](Plan&) {}), "");
}

TEST(PlanValidation, NamesFieldFoundAndExpected) {
  using testing::HasSubstr;
  EXPECT_THAT(complaint([](Plan& p) { p.micro_batches = 0; }),
              HasSubstr("micro_batches: found 0, expected at least 1"));
  EXPECT_THAT(complaint([](Plan& p) { p.micro_batches = 1'000'000'000; }),
              HasSubstr("micro_batches: found 1000000000 of 4 samples, expected at most 16777216 samples"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[1].first_layer = 3; }),
              HasSubstr("stages[1].first_layer: found 3, expected 2"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[1].end_layer = 4; }), HasSubstr("ends at layer 4, expected 5"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[1].replicas[0].device = 1; }), HasSubstr("device 1 is used twice"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[0].replicas[0].device = 7; }),
              HasSubstr("found device 7, expected 0 to 1"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[0].replicas[0].sample_end = 3; }), HasSubstr("own 3 samples"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages.clear(); }), HasSubstr("stages: found none"));
  EXPECT_THAT(complaint([](Plan& p) { p.schedule = "2f2b"; }),
              HasSubstr("schedule: found \"2f2b\", expected one of 1f1b, gpipe"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[0].wire = "int4"; }),
              HasSubstr("stages[0].wire: found \"int4\", expected one of float32, bfloat16, int8"));
  EXPECT_THAT(complaint([](Plan& p) { p.schedule = "listed"; }), HasSubstr("actions: found 0 rows"));
  EXPECT_THAT(complaint([](Plan& p) { p.actions = {"0F0", "1F0"}; }), HasSubstr("actions: found 2 rows"));
}

TEST(PlanValidation, OnlyInterleavedAndListedPutSeveralStagesOnADevice) {
  using testing::HasSubstr;
  const auto four_on_two = [](Plan& p) {
    p.schedule = "interleaved-1f1b";
    p.stages.clear();
    for (int s = 0; s < 4; ++s) p.stages.push_back({s, s < 3 ? s + 1 : 5, {{s % 2, 0, 4}}, 1, false, "float32"});
  };
  EXPECT_EQ(complaint(four_on_two), "");
  EXPECT_THAT(complaint([&](Plan& p) {
                four_on_two(p);
                p.schedule = "1f1b";
              }),
              HasSubstr("device 0 is used twice (only interleaved-1f1b and listed"));
  EXPECT_THAT(complaint([&](Plan& p) {
                four_on_two(p);
                p.stages[2].replicas[0].device = 1;
              }),
              HasSubstr("stages[2].replicas: interleaved-1f1b expects those of stages[0]"));
  EXPECT_THAT(complaint([&](Plan& p) {
                four_on_two(p);
                p.stages[2].end_layer = 5;
                p.stages.pop_back();
              }),
              HasSubstr("found 3 stages for 2 device groups"));
  const auto listed = [&](Plan& p) {
    four_on_two(p);
    p.schedule = "listed";
    p.stages[2].replicas[0].device = 1;
    p.actions = {"0F0,0B0", "1F0,2F0,2B0,1B0"};
  };
  EXPECT_EQ(complaint(listed), "");
  EXPECT_THAT(complaint([&](Plan& p) {
                listed(p);
                p.actions.pop_back();
              }),
              HasSubstr("actions: found 1 rows, expected one for device 1 of stages[1]"));
}

TEST(Features, AreNamedInOneOrder) {
  using testing::ElementsAre;
  Plan plan = two_stages();
  EXPECT_THAT(features_of(plan), testing::IsEmpty());
  plan.stages[1].wire = "int8";  // no edge behind the last stage
  EXPECT_THAT(features_of(plan), testing::IsEmpty());
  plan.stages[0].wire = "bfloat16";
  plan.stages[1].recompute = true;
  plan.stages[1].replicas = {{0, 0, 3}, {2, 3, 4}};
  plan.schedule = "zero-bubble";
  EXPECT_THAT(features_of(plan), ElementsAre("replicas", "recompute", "bfloat16", "zero-bubble"));
}

}  // namespace
}  // namespace motley

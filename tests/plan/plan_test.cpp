#include "motley/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "motley/base/error.h"

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
  EXPECT_THAT(complaint([](Plan& p) { p.stages[1].first_layer = 3; }),
              HasSubstr("stages[1].first_layer: found 3, expected 2"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[1].end_layer = 4; }), HasSubstr("ends at layer 4, expected 5"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[1].replicas[0].device = 1; }), HasSubstr("device 1 is used twice"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[0].replicas[0].device = 7; }),
              HasSubstr("found device 7, expected 0 to 1"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages[0].replicas[0].sample_end = 3; }), HasSubstr("own 3 samples"));
  EXPECT_THAT(complaint([](Plan& p) { p.stages.clear(); }), HasSubstr("stages: found none"));
}

}  // namespace
}  // namespace motley

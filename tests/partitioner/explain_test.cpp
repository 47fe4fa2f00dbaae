#include "motley/partitioner/explain.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "instances.h"
#include "motley/partitioner/what_if.h"

namespace motley {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Explain, NamesStagesUnusedDevicesWhatBindsAndTheRunnerUp) {
  Profile profile = plain_profile(4, {0, 40, 0});
  profile.cluster.emulated = true;
  SearchOptions options;
  options.global_batch = 8;
  const Found result = found(find_plan("exact", profile, options));
  ASSERT_FALSE(result.runners_up.empty());
  const std::string text = explain(result, profile);
  EXPECT_THAT(text, HasSubstr("rank0"));
  EXPECT_THAT(text, HasSubstr("rank1            unused"));
  EXPECT_THAT(text, HasSubstr("[0, 2)"));
  EXPECT_THAT(text, HasSubstr("binds: compute of rank"));
  EXPECT_THAT(text, HasSubstr("(emulated)"));
  EXPECT_THAT(text, HasSubstr("gap 0.00 %"));
  EXPECT_THAT(text, HasSubstr("runner-up: "));
  EXPECT_THAT(text, HasSubstr("  it lost: "));
}

TEST(Explain, SaysWhatMemoryAndLinksWouldBeWorth) {
  SearchOptions options;
  options.global_batch = 8;
  options.use_all_devices = true;
  Profile profile = plain_profile(4, {0, 0}, 1e6);
  const Found before = found(find_plan("exact", profile, options));
  // What the fuller device has is just what it needs.
  const auto& stages = before.plan.stages;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    profile.cluster.devices[stages[s].replicas.front().device].memory = before.plan.prediction->stage_memory[s];
  }
  const Found result = found(find_plan("exact", profile, options));
  const std::string text = explain_worth("exact", result, profile, options);
  EXPECT_THAT(text, HasSubstr("worth: 1 GB more for rank"));
  // The same by hand: a link twice as fast, both ways.
  Profile faster = what_if(profile, "link 0 -> 1 x 2");
  faster = what_if(faster, "link 1 -> 0 x 2");
  const double after = found(find_plan("exact", faster, options)).plan.prediction->iteration.value;
  const double change = 100.0 * (after / result.plan.prediction->iteration.value - 1.0);
  EXPECT_LT(change, 0.0);
  EXPECT_THAT(text, HasSubstr(fmt::format("twice as fast: {:+.2f} %", change)));
}

TEST(Explain, NamesALinkThatBinds) {
  SearchOptions options;
  options.global_batch = 8;
  const Found result = found(find_plan("uniform", plain_profile(4, {0, 0}, 1e4), options));  // 0.1 s a message
  const std::string text = explain(result, plain_profile(4, {0, 0}, 1e4));
  EXPECT_THAT(text, HasSubstr("binds: link rank0 - rank1"));
  EXPECT_THAT(text, Not(HasSubstr("bound:")));
}

}  // namespace
}  // namespace motley

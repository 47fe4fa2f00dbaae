#include "motley/partitioner/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "instances.h"

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

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(CommandLine, EveryCommandExplainsItselfWithAnExample) {
  const Outcome all = motley_program("--help");
  EXPECT_EQ(all.exit_code, 0);
  for (const std::string command : {"run", "profile", "plan", "simulate", "train", "evaluate", "show"}) {
    EXPECT_THAT(all.out, HasSubstr("\n  " + command)) << all.out;
    const Outcome one = motley_program(command + " --help");
    EXPECT_EQ(one.exit_code, 0) << one.err;
    EXPECT_THAT(one.out, AllOf(StartsWith("usage: motley " + command), HasSubstr("\nexample: ")));
    EXPECT_EQ(one.err, "");
  }
}

TEST(CommandLine, NearMissesAreTold) {
  const Outcome command = motley_program("trian configs/quickstart.toml");
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_THAT(command.err, HasSubstr("unknown command \"trian\", did you mean \"train\"?"));
  const Outcome option = motley_program("plan --profil x --batch 8");
  EXPECT_EQ(option.exit_code, 2);
  EXPECT_THAT(option.err, HasSubstr("did you mean --profile?"));
}

TEST(CommandLine, WhatIsMissingIsNamed) {
  const Outcome plan = motley_program("plan --batch 64");
  EXPECT_EQ(plan.exit_code, 2);
  EXPECT_THAT(plan.err, HasSubstr("--profile"));
  const Outcome file = motley_program("show nowhere.json");
  EXPECT_EQ(file.exit_code, 2);
  EXPECT_THAT(file.err, HasSubstr("nowhere.json: cannot be read"));
  EXPECT_EQ(file.out, "");
}

TEST(CommandLine, AWrongConfigurationIsRefusedBeforeAnythingStarts) {
  const TemporaryFolder folder;
  write_text(folder / "c.toml", "[train]\nlerning_rate = 1.0\n");
  const Outcome outcome = motley_program("run " + (folder / "c.toml").string());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("c.toml"), HasSubstr("lerning_rate"), HasSubstr("learning_rate")));
}

}  // namespace
}  // namespace motley

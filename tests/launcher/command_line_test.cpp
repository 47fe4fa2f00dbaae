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
  for (const std::string command : {"run", "profile", "plan", "import", "simulate", "train", "evaluate", "show"}) {
    EXPECT_THAT(all.out, HasSubstr("\n  " + command)) << all.out;
    const Outcome one = motley_program(command + " --help");
    EXPECT_EQ(one.exit_code, 0) << one.err;
    EXPECT_THAT(one.out, AllOf(StartsWith("usage: motley " + command), HasSubstr("\nexample: ")));
    EXPECT_EQ(one.err, "");
  }
}

TEST(CommandLine, ShowsAScheduleAsAPictureItsProblemsAndItsActions) {
  const TemporaryFolder folder;
  write_text(folder / "good.csv", "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n");
  write_text(folder / "bad.csv", "0F0,0B1\n");
  const Outcome good = motley_program("show " + (folder / "good.csv").string());
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_THAT(good.out, AllOf(HasSubstr("2 ranks, 2 stages, 2 micro-batches"), HasSubstr("9 ticks"),
                              HasSubstr("rank 0   01..bb.bb"), HasSubstr("rank 1   .0bb1bb..")));
  const Outcome bad = motley_program("show " + (folder / "bad.csv").string());
  EXPECT_THAT(bad.out, AllOf(HasSubstr("problem: 0B0 is missing"), HasSubstr("problem: 0F1 is missing")));
  const Outcome json = motley_program("show --json " + (folder / "good.csv").string());
  EXPECT_THAT(json.out, HasSubstr("[\"0F0\",\"0F1\",\"0B0\",\"0B1\"]"));
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

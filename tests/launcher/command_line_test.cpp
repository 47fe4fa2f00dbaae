#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "program.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(CommandLine, EveryCommandExplainsItselfWithAnExample) {
  const Outcome all = motley_program("--help");
  EXPECT_EQ(all.exit_code, 0);
  for (const std::string command : {"run", "profile", "plan", "check", "import", "simulate", "train", "evaluate",
                                    "report", "export", "schedule", "show", "config", "doctor", "completion"}) {
    EXPECT_THAT(all.out, HasSubstr("\n  " + command)) << all.out;
    const Outcome one = motley_program(command + " --help");
    EXPECT_EQ(one.exit_code, 0) << one.err;
    EXPECT_THAT(one.out, AllOf(StartsWith("usage: motley " + command), HasSubstr("\nexample: ")));
    EXPECT_EQ(one.err, "");
    EXPECT_EQ(motley_program("help " + command).out, one.out);
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

TEST(CommandLine, MakesAnInterleavedScheduleForFewerRanksThanStages) {
  const Outcome made = motley_program("schedule interleaved-1f1b --stages 4 --ranks 2 --micro-batches 4");
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("2 ranks, 4 stages, 4 micro-batches"));
  const Outcome without = motley_program("schedule interleaved-1f1b --stages 4 --micro-batches 4");
  EXPECT_EQ(without.exit_code, 2);
  EXPECT_THAT(without.err, HasSubstr("needs --ranks"));
  const Outcome needless = motley_program("schedule 1f1b --stages 4 --ranks 2 --micro-batches 4");
  EXPECT_EQ(needless.exit_code, 2);
  EXPECT_THAT(needless.err, HasSubstr("--ranks: found 2, expected none for 1f1b"));
}

TEST(CommandLine, NearMissesAreTold) {
  const Outcome command = motley_program("trian configs/quickstart.toml");
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_THAT(command.err, HasSubstr("unknown command \"trian\", did you mean \"train\"?"));
  EXPECT_THAT(motley_program("--versoin").err, HasSubstr("did you mean \"--version\"?"));
  const Outcome option = motley_program("plan --profil x --batch 8");
  EXPECT_EQ(option.exit_code, 2);
  EXPECT_THAT(option.err, HasSubstr("did you mean --profile?"));
  EXPECT_THAT(motley_program("completion bsh").err, HasSubstr("did you mean \"bash\"?"));
  EXPECT_THAT(motley_program("schedule 1f1c --stages 2 --micro-batches 4").err, HasSubstr("did you mean \"1f1b\"?"));
}

TEST(CommandLine, TellsWhatKindOfNumberAnOptionTakes) {
  const Outcome count = motley_program("plan --profile x --batch many");
  EXPECT_EQ(count.exit_code, 2);
  EXPECT_THAT(count.err, AllOf(HasSubstr("'many'"), HasSubstr("--batch"), HasSubstr("expected an integer")));
  const Outcome time = motley_program("plan --profile x --batch 8 --time-limit soon");
  EXPECT_EQ(time.exit_code, 2);
  EXPECT_THAT(time.err, AllOf(HasSubstr("--time-limit"), HasSubstr("expected a number")));
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

TEST(CommandLine, AnUnknownPlannerOfAConfigurationIsRefusedWithTheNearest) {
  const Outcome outcome = motley_program("run configs/quickstart.toml --set plan.planner=exakt");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("plan.planner: found \"exakt\""), HasSubstr("did you mean \"exact\"?")));
}

TEST(CommandLine, ConfigPrintsWhatTakesEffectAndTheOutputIsAConfigurationAgain) {
  const TemporaryFolder folder;
  const Outcome printed = motley_program("config configs/quickstart.toml --set train.steps=5");
  EXPECT_EQ(printed.exit_code, 0) << printed.err;
  EXPECT_THAT(printed.out,
              AllOf(HasSubstr("steps = 5"), HasSubstr("--set train.steps=5"), HasSubstr("configs/quickstart.toml:"),
                    HasSubstr("[workload_options]\n"), HasSubstr("; default")));
  write_text(folder / "again.toml", printed.out);
  const auto values = [](const std::string& arguments) {
    std::map<std::string, std::string> by_key;
    for (const auto& key : nlohmann::json::parse(motley_program("config --json " + arguments).out)) {
      by_key[key.at("key")] = key.at("value");
    }
    return by_key;
  };
  const auto before = values("configs/quickstart.toml --set train.steps=5");
  EXPECT_GT(before.size(), 30U);
  EXPECT_EQ(values((folder / "again.toml").string()), before);
}

TEST(CommandLine, ConfigTellsTheKeysEvenWhereTheDataIsMissing) {
  const Outcome outcome = motley_program("config --set workload_options.data=nowhere");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.out, HasSubstr("data = \"nowhere\""));
  EXPECT_THAT(outcome.err, HasSubstr("nowhere"));
}

TEST(CommandLine, VersionNamesWhatWasCompiledIn) {
  const Outcome outcome = motley_program("--version");
  EXPECT_EQ(outcome.exit_code, 0);
  for (const std::string part : {"motley ", "LibTorch ", "MPI ", "CUDA ", "NCCL ", "transports "}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
}

TEST(CommandLine, DoctorFindsThisMachineComplete) {
  const Outcome outcome = motley_program("doctor --json");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
  const auto report = nlohmann::json::parse(outcome.out);
  EXPECT_TRUE(report.at("complete").get<bool>());
  std::vector<std::string> topics;
  for (const auto& finding : report.at("findings")) {
    topics.push_back(finding.at("topic"));
  }
  EXPECT_THAT(topics, testing::IsSupersetOf({"cores", "memory", "mpirun", "network", "GPUs"}));
  EXPECT_THAT(motley_program("doctor").out, HasSubstr("This machine can run"));
}

TEST(CommandLine, DoctorSaysHowToGetWhatIsMissing) {
  const Outcome outcome = motley_program("doctor", "PATH=/nowhere");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("MISSING  mpirun"), HasSubstr("apt-get install openmpi-bin")));
}

TEST(CommandLine, CompletionOffersCommandsAndTheOptionsOfEach) {
  const TemporaryFolder folder;
  const Outcome script = motley_program("completion bash");
  ASSERT_EQ(script.exit_code, 0) << script.err;
  write_text(folder / "completion.bash", script.out);
  const auto offered = [&](const std::string& words) {
    write_text(folder / "ask.bash",
               "source " + (folder / "completion.bash").string() + "\nCOMP_WORDS=(" + words +
                   ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_motley\necho \"${COMPREPLY[*]}\"\n");
    return shell("bash " + (folder / "ask.bash").string()).out;
  };
  EXPECT_EQ(offered("motley tr"), "train\n");
  EXPECT_EQ(offered("motley train --pl"), "--plan\n");
  EXPECT_EQ(offered("mpirun -n 4 motley simulate --tra"), "--trace\n");
  const Outcome zsh = motley_program("completion zsh");
  EXPECT_THAT(zsh.out, AllOf(StartsWith("#compdef motley"), HasSubstr("'--plan[plan.json]:value:_files'")));
  const Outcome other = motley_program("completion fish");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("found shell \"fish\", expected one of bash, zsh"));
}

}  // namespace
}  // namespace motley

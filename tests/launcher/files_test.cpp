#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "motley/plan/files.h"
#include "partitioner/instances.h"
#include "program.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// Files of a model of six layers on three devices, the last half as fast.
class Files : public testing::Test {
 protected:
  Files() {
    SearchOptions options;
    options.global_batch = 8;
    options.micro_batch_sizes = {1};
    plan_ = found(find_plan("uniform", profile_, options)).plan;
    write_profile(profile_file_, profile_);
    write_plan(plan_file_, plan_);
  }

  [[nodiscard]] Outcome simulate(const std::string& more) const {
    return motley_program(
        fmt::format("simulate --profile {} --plan {} --json {}", profile_file_.string(), plan_file_.string(), more));
  }

  static double iteration_of(const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out).at("iteration_s").get<double>();
  }

  [[nodiscard]] std::string at(const std::string& name) const { return (folder_ / name).string(); }

  TemporaryFolder folder_;
  const Profile profile_ = plain_profile(6, {0, 0, 1});
  const std::filesystem::path profile_file_ = folder_ / "profile.json";
  const std::filesystem::path plan_file_ = folder_ / "plan.json";
  Plan plan_;
};

TEST_F(Files, APlanIsAPictureOfLayersAndDevices) {
  const Outcome shown = motley_program("show " + plan_file_.string());
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("  layer    0   1   2   3   4   5\n"
                                   "  rank 0   [==0===]\n"
                                   "  rank 1           [==1===]\n"
                                   "  rank 2                   [==2===]\n"));
  const double busy = plan_.prediction->stage_busy[2] / plan_.prediction->iteration * 100;
  EXPECT_THAT(shown.out,
              AllOf(HasSubstr(fmt::format("{:.3f}", plan_.prediction->stage_busy[2].value * 1e3)),
                    HasSubstr(fmt::format("{:.0f} %", busy)),
                    HasSubstr(fmt::format("predicted iteration {:.4f} s", plan_.prediction->iteration.value))));
}

TEST_F(Files, APlanOfManyLayersFitsTheTerminal) {
  Plan plan = plan_;
  plan.prediction.reset();
  for (std::size_t s = 0; s < 3; ++s) {
    plan.stages[s].first_layer = static_cast<int>(s) * 333;
    plan.stages[s].end_layer = s == 2 ? 1000 : static_cast<int>(s + 1) * 333;
  }
  write_plan(plan_file_, plan);
  const Outcome shown = motley_program("show " + plan_file_.string());
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  std::istringstream lines(shown.out);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 110U) << line;
  }
  EXPECT_THAT(shown.out, AllOf(HasSubstr("==1=="), HasSubstr("666..999"), Not(HasSubstr("predicted"))));
}

TEST_F(Files, AProfileIsATableOfLayersAndAMatrixOfLinks) {
  const Outcome shown = motley_program("show " + profile_file_.string());
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  // Six layers of 1 ms forward and 2 ms backward; 10 us and 1 MB at 1 GB/s are 1.01 ms.
  EXPECT_THAT(shown.out, AllOf(HasSubstr("6 layers, 3 devices"), HasSubstr("layer5           1.000     2.000"),
                               HasSubstr("all              6.000    12.000"), HasSubstr("rank0             rank1"),
                               HasSubstr("/  990.1"), HasSubstr("rank2    t1 on host2, 1000 MB")));
}

TEST_F(Files, ASimulationTakesAnotherScheduleByNameOrFile) {
  const double own = iteration_of(simulate(""));
  EXPECT_DOUBLE_EQ(own, plan_.prediction->iteration.value);
  const double gpipe = iteration_of(simulate("--schedule gpipe --trace " + at("gpipe.json")));
  EXPECT_GE(gpipe, own);
  EXPECT_GT(nlohmann::json::parse(text_of(at("gpipe.json"))).at("traceEvents").size(), 48U);
  // The same schedules out of files, as compute actions and with transfers.
  for (const std::string form : {"compute", "lowered", "training"}) {
    const Outcome made = motley_program(
        fmt::format("schedule gpipe --stages 3 --micro-batches 8 --to {} --out {}", form, at("gpipe.csv")));
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_DOUBLE_EQ(iteration_of(simulate("--schedule " + at("gpipe.csv"))), gpipe) << form;
  }
}

TEST_F(Files, WhatDevicesGainAfterPausesIsExpectedOfARunAndNoPartOfThePlansCost) {
  const Outcome without = motley_program("simulate --profile " + profile_file_.string() + " --plan " + at("plan.json"));
  EXPECT_THAT(without.out, Not(HasSubstr("pauses")));
  Profile profile = read_profile(profile_file_);
  for (auto& [type, table] : profile.model.devices) table.burst = {Seconds{0.002}, 2.0};
  write_profile(at("bursts.json"), profile);
  const std::string words = "simulate --profile " + at("bursts.json") + " --plan " + at("plan.json");
  const auto object = nlohmann::json::parse(motley_program(words + " --json").out);
  EXPECT_DOUBLE_EQ(object.at("iteration_s").get<double>(), plan_.prediction->iteration.value);
  EXPECT_LT(object.at("expected_s").get<double>(), plan_.prediction->iteration.value);
  EXPECT_THAT(motley_program(words).out,
              AllOf(HasSubstr(fmt::format("iteration {:.3f} s", plan_.prediction->iteration.value)),
                    HasSubstr(fmt::format("expected of a run: {:.3f} s, with what devices gain after pauses",
                                          object.at("expected_s").get<double>()))));
  EXPECT_THAT(motley_program("show " + at("bursts.json")).out,
              HasSubstr("after a pause 2.00 times as fast until 2.0 ms ahead"));
  Plan plan = plan_;
  plan.prediction->expected = Seconds{0.0123};
  write_plan(at("expected.json"), plan);
  EXPECT_EQ(read_plan(at("expected.json")).prediction->expected, plan.prediction->expected);
  EXPECT_THAT(motley_program("show " + at("expected.json")).out,
              HasSubstr("; 0.0123 s with what devices gain after pauses"));
}

TEST_F(Files, AScheduleThatDoesNotFitThePlanIsRefusedByName) {
  const auto complaint = [&](const std::string& csv) {
    write_text(folder_ / "s.csv", csv);
    const Outcome outcome = simulate("--schedule " + at("s.csv"));
    EXPECT_EQ(outcome.exit_code, 2);
    return outcome.err;
  };
  EXPECT_THAT(complaint("0F0,0B0\n1F0,1B0\n"), HasSubstr("s.csv: found 2 stages, expected the plan's 3"));
  EXPECT_THAT(complaint("0F0,0B0\n1F0,1B0\n2F0,2B0\n"), HasSubstr("found 1 micro-batches, expected the plan's 8"));
  EXPECT_THAT(complaint("0F0,0X0\n"), HasSubstr("s.csv: row 1, column 2"));
  const Outcome unknown = simulate("--schedule zigzag");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("zigzag"));
}

TEST_F(Files, ASchedulePrintsConvertsAndComesBack) {
  const std::string compute = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n";
  const std::string make = "schedule 1f1b --stages 2 --micro-batches 2";
  EXPECT_EQ(motley_program(make + " --to compute").out, compute);
  const Outcome lowered = motley_program(make + " --to lowered");
  EXPECT_THAT(lowered.out, AllOf(HasSubstr("0F0,0SEND_F0"), HasSubstr("1RECV_F0"), Not(HasSubstr("UPDATE"))));
  EXPECT_THAT(motley_program(make + " --to training").out, AllOf(HasSubstr("0NORM"), HasSubstr("1UPDATE")));
  write_text(folder_ / "lowered.csv", lowered.out);
  EXPECT_EQ(motley_program(fmt::format("schedule {} --to compute", at("lowered.csv"))).out, compute);
  EXPECT_THAT(motley_program(make).out, AllOf(HasSubstr("9 ticks"), HasSubstr("rank 0   01..bb.bb")));
}

TEST_F(Files, PyTorchsScheduleIsLoweredAndBroughtBack) {
  const std::filesystem::path golden =
      std::filesystem::path(MOTLEY_SHARED_DATA) / "schedules/zb1p_2rank_2stagep_compute.csv";
  if (!std::filesystem::exists(golden)) {
    GTEST_SKIP() << "no PyTorch schedules beside the tree";
  }
  const Outcome lowered =
      motley_program(fmt::format("schedule {} --to lowered --out {}", golden.string(), at("l.csv")));
  ASSERT_EQ(lowered.exit_code, 0) << lowered.err;
  const Outcome back = motley_program(fmt::format("schedule {} --to compute", at("l.csv")));
  ASSERT_EQ(back.exit_code, 0) << back.err;
  // All but the idle cells.
  std::string expected = text_of(golden);
  for (std::size_t comma = 0; (comma = expected.find(",,", comma)) != std::string::npos;) {
    expected.erase(comma, 1);
  }
  for (std::size_t row = expected.find("\n,"); row != std::string::npos; row = expected.find("\n,")) {
    expected.erase(row + 1, 1);
  }
  EXPECT_EQ(back.out, expected);
  EXPECT_THAT(motley_program("schedule " + golden.string()).out, HasSubstr("49 ticks"));
}

TEST_F(Files, AScheduleThatCannotRunIsRefused) {
  write_text(folder_ / "bad.csv", "0F0,0B1\n");
  const Outcome shown = motley_program("schedule " + at("bad.csv"));
  EXPECT_EQ(shown.exit_code, 2);
  EXPECT_THAT(shown.out, HasSubstr("problem: 0B0 is missing"));
  const Outcome converted = motley_program("schedule --to lowered " + at("bad.csv"));
  EXPECT_EQ(converted.exit_code, 2);
  EXPECT_EQ(converted.out, "");
  EXPECT_THAT(converted.err, AllOf(HasSubstr("bad.csv: 0B0 is missing"), HasSubstr("0F1 is missing")));
  // 1F1B over blocking sends: rank 0 sends its second forward while rank 1 sends the first gradient back.
  const std::string make = "schedule 1f1b --stages 2 --micro-batches 4";
  EXPECT_EQ(motley_program(make + " --receives-wait --receive-ahead 1").exit_code, 2);
  EXPECT_EQ(motley_program(make + " --sends-wait").exit_code, 0);
}

TEST_F(Files, WhatAScheduleNeedsIsSaid) {
  EXPECT_THAT(motley_program("schedule 1f1b").err, HasSubstr("needs --stages and --micro-batches"));
  EXPECT_THAT(motley_program("schedule zigzag --stages 2 --micro-batches 2").err, HasSubstr("zigzag"));
  EXPECT_THAT(motley_program("schedule 1f1b --stages 2 --micro-batches 2 --to pytorch").err,
              HasSubstr("found \"pytorch\", expected one of compute, lowered, training"));
  EXPECT_THAT(motley_program("schedule 1f1b --stages 2 --micro-batches 2 --out x.csv").err,
              HasSubstr("--out needs --to"));
}

}  // namespace
}  // namespace motley

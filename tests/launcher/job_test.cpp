#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "motley/plan/files.h"
#include "motley/record/json_lines.h"
#include "motley/record/safetensors.h"
#include "program.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Small enough for seconds, on the real data.
constexpr const char* kConfig = R"(
run_directory = "{}"
workload = "router"
[workload_options]
data = "data/mmlu_pro"
width = 32
blocks = 4
hidden = 32
[train]
steps = {}
global_batch = 64
[profile]
micro_batch_sizes = [8, 16]
repeats = 3
[comm]
deadline_s = 20.0
[devices]
ranks = 2
speeds = [0.8, 0.4]
[compare]
planners = ["uniform", "single"]
steps = 3
)";

class Job : public testing::Test {
 protected:
  void configure(int steps) {
    write_text(config_, fmt::format(fmt::runtime(kConfig), (folder_ / "run").string(), steps));
  }

  TemporaryFolder folder_;
  std::filesystem::path config_ = folder_ / "job.toml";
  std::filesystem::path run_ = folder_ / "run";
};

TEST_F(Job, RunsFromProfileToEvaluationAndEveryFileCanBeUsedAgain) {
  configure(6);
  const Outcome all = motley_program(fmt::format("run {} --json", config_.string()));
  ASSERT_EQ(all.exit_code, 0) << all.err;
  const auto result = nlohmann::json::parse(all.out);
  EXPECT_TRUE(result.at("emulated").get<bool>());
  const nlohmann::json& plans = result.at("plans");
  ASSERT_EQ(plans.size(), 3U);
  EXPECT_EQ(plans.at("motley").at("losses").size(), 6U);
  for (const std::string planner : {"uniform", "single"}) {
    ASSERT_EQ(plans.at(planner).at("losses").size(), 3U);
    for (std::size_t step = 0; step < 3; ++step) {
      EXPECT_EQ(plans.at(planner).at("losses")[step], plans.at("motley").at("losses")[step])
          << planner << ", step " << step;
    }
  }
  EXPECT_EQ(plans.at("uniform").at("predicted_stages").size(), 2U);
  EXPECT_EQ(plans.at("single").at("predicted_stages").size(), 1U);
  EXPECT_GT(result.at("router").at("rows").size(), 3U);
  for (const nlohmann::json& stage : plans.at("motley").at("predicted_stages")) {
    const auto rank = stage.at("rank").get<std::size_t>();
    const auto measured = plans.at("motley").at("ranks").at(rank).at("peak_memory_bytes").get<double>();
    EXPECT_NEAR(stage.at("peak_memory_bytes").get<double>(), measured, 0.1 * measured);
  }

  const std::string profile = (run_ / "profile.json").string();
  const std::string plan = (run_ / "plan.json").string();
  const std::string trace = (folder_ / "trace.json").string();
  EXPECT_EQ(read_profile(profile).cluster.size(), 2);
  const Outcome simulated =
      motley_program(fmt::format("simulate --profile {} --plan {} --trace {} --json", profile, plan, trace));
  ASSERT_EQ(simulated.exit_code, 0) << simulated.err;
  EXPECT_DOUBLE_EQ(nlohmann::json::parse(simulated.out).at("iteration_s").get<double>(),
                   read_plan(plan).prediction->iteration.value);
  EXPECT_GT(nlohmann::json::parse(text_of(trace)).at("traceEvents").size(), 8U);
  for (const std::string file : {"profile.json", "plan.json", "record.jsonl", "evaluation.json", "trace.json",
                                 "predictions-test.safetensors", "."}) {
    const Outcome shown = motley_program("show " + (run_ / file).string());
    EXPECT_EQ(shown.exit_code, 0) << shown.err;
    EXPECT_GT(shown.out.size(), 40U) << file;
    const Outcome as_json = motley_program("show --json " + (run_ / file).string());
    EXPECT_TRUE(nlohmann::json::parse(as_json.out).is_object()) << file;
  }
  EXPECT_EQ(motley_program("evaluate " + run_.string() + " --json").exit_code, 0);

  // What another cut trains from the same seed is the same network.
  const Outcome again = motley_on_ranks(
      2, fmt::format("train {} --plan {} --profile {} --run {} --trace", config_.string(),
                     (run_ / "compare-uniform" / "plan.json").string(), profile, (folder_ / "again").string()));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(text_of(folder_ / "again/predictions-test.safetensors"), text_of(run_ / "predictions-test.safetensors"));
  const std::string both = text_of(folder_ / "again/trace.json");
  EXPECT_THAT(both, AllOf(HasSubstr("measured"), HasSubstr("simulated"), HasSubstr("rank 0 to 1")));

  // A plan for another batch, and one for another profile.
  Plan wrong = read_plan(plan);
  wrong.micro_batches *= 2;
  write_plan(folder_ / "wrong.json", wrong);
  const Outcome batch =
      motley_on_ranks(2, fmt::format("train {} --plan {}", config_.string(), (folder_ / "wrong.json").string()));
  EXPECT_EQ(batch.exit_code, 2);
  EXPECT_THAT(batch.err, AllOf(HasSubstr("wrong.json"), HasSubstr("128 a step"), HasSubstr("global_batch = 64")));
  wrong = read_plan(plan);
  wrong.profile_fingerprint = "0123456789abcdef";
  write_plan(folder_ / "wrong.json", wrong);
  const Outcome other = motley_on_ranks(
      2, fmt::format("train {} --plan {} --profile {}", config_.string(), (folder_ / "wrong.json").string(), profile));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, AllOf(HasSubstr("wrong.json"), HasSubstr("0123456789abcdef")));

  // Too little memory is a result.
  std::string small = text_of(profile);
  for (std::size_t at = 0; (at = small.find("\"memory_bytes\": 2048000000", at)) != std::string::npos;) {
    small.replace(at, 26, "\"memory_bytes\": 9000");
  }
  write_text(folder_ / "small.json", small);
  const Outcome infeasible = motley_program("plan --batch 64 --profile " + (folder_ / "small.json").string());
  EXPECT_EQ(infeasible.exit_code, 2) << infeasible.err;
  EXPECT_THAT(infeasible.out, HasSubstr("no plan fits"));
}

TEST_F(Job, ARankThatDiesEndsTheRunWithItsNameAndTheRecordStays) {
  configure(1'000'000);
  ASSERT_EQ(motley_on_ranks(2, "profile " + config_.string()).exit_code, 0);
  const std::string plan = (folder_ / "plan.json").string();
  ASSERT_EQ(motley_program(fmt::format("plan --profile {} --batch 64 --planner uniform --out {}",
                                       (run_ / "profile.json").string(), plan))
                .exit_code,
            0);
  Outcome outcome;
  std::thread job([&] { outcome = motley_on_ranks(2, fmt::format("train {} --plan {}", config_.string(), plan)); });
  // The rank whose parent gave it rank 1, once the record has steps.
  const std::string find = fmt::format(
      "for p in $(pgrep -f 'motley train {}'); do tr '\\0' '\\n' </proc/$p/environ | grep -qx OMPI_COMM_WORLD_RANK=1 "
      "&& "
      "kill -9 $p; done",
      config_.string());
  for (int i = 0; i < 600 && text_of(run_ / "record.jsonl").find("\"step\":2") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  write_text(folder_ / "kill.sh", find);
  ASSERT_GE(std::system(("bash " + (folder_ / "kill.sh").string()).c_str()), 0);
  job.join();
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_NE(outcome.exit_code, 124) << "the run did not end";
  EXPECT_THAT(outcome.err, HasSubstr("rank 0: rank 1 is gone"));
  EXPECT_GE(read_json_lines(run_ / "record.jsonl").size(), 3U);
}

/// Losses by step of a record, later lines before earlier ones.
std::map<std::int64_t, double> losses_of(const std::filesystem::path& record) {
  std::map<std::int64_t, double> losses;
  for (const nlohmann::json& line : read_json_lines(record)) {
    if (line.at("kind") == "step") {
      losses[line.at("step").get<std::int64_t>()] = line.at("loss").get<double>();
    }
  }
  return losses;
}

TEST_F(Job, IsStoppedInOrderAndGoesOnUnderAnotherPlanToTheSameLosses) {
  configure(40);
  ASSERT_EQ(motley_on_ranks(2, "profile " + config_.string()).exit_code, 0);
  const std::string profile = (run_ / "profile.json").string();
  const auto plan = [&](const std::string& planner, int micro_batch_size, const std::string& name) {
    const Outcome made =
        motley_program(fmt::format("plan --profile {} --batch 64 --planner {} --micro-batch-size {} "
                                   "--out {}",
                                   profile, planner, micro_batch_size, (folder_ / name).string()));
    ASSERT_EQ(made.exit_code, 0) << made.err;
  };
  plan("uniform", 8, "uniform.json");
  plan("single", 8, "single.json");
  plan("single", 16, "larger.json");
  const auto train = [&](const std::string& planner, const std::string& run, const std::string& more) {
    return motley_on_ranks(2, fmt::format("train {} --plan {} --run {} --no-evaluation {}", config_.string(),
                                          (folder_ / (planner + ".json")).string(), (folder_ / run).string(), more));
  };
  ASSERT_EQ(train("uniform", "whole", "").exit_code, 0);

  // mpirun hands SIGUSR1 on to the ranks: what motley run sends it at Ctrl-C.
  Outcome stopped;
  std::thread job([&] { stopped = train("uniform", "parts", ""); });
  const std::filesystem::path record = folder_ / "parts/record.jsonl";
  for (int i = 0; i < 600 && text_of(record).find("\"step\":2") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(std::system(fmt::format("pkill -USR1 -f '^[^ ]*mpi(run|exec) .*{}'", (folder_ / "parts").string()).c_str()),
            0);
  job.join();
  EXPECT_EQ(stopped.exit_code, 0) << stopped.err;
  EXPECT_THAT(stopped.err, AllOf(HasSubstr("stopped as asked"), HasSubstr("--resume")));
  const std::string checkpoints = (folder_ / "parts/checkpoints").string();

  // A fresh run must not be taken for the one that is to go on, nor another configuration.
  const Outcome fresh = train("uniform", "parts", "");
  EXPECT_EQ(fresh.exit_code, 2);
  EXPECT_THAT(fresh.err, AllOf(HasSubstr("has a checkpoint of step"), HasSubstr("--resume")));
  const std::string settings = text_of(config_);
  write_text(config_, std::regex_replace(settings, std::regex("global_batch = 64"), "global_batch = 64\nseed = 5"));
  EXPECT_THAT(motley_program("show " + checkpoints).out,
              AllOf(HasSubstr("training goes on with step"), HasSubstr("train.seed"), HasSubstr("layers, ")));
  const Outcome changed = train("single", "parts", "--resume " + checkpoints);
  EXPECT_EQ(changed.exit_code, 2);
  EXPECT_THAT(changed.err, HasSubstr("train.seed: 1 in the checkpoint, 5 now"));
  write_text(config_, settings);

  // Micro-batches of another size draw other random numbers: allowed, and said.
  std::filesystem::create_directory(folder_ / "larger");
  std::filesystem::copy(folder_ / "parts/checkpoints", folder_ / "larger/checkpoints",
                        std::filesystem::copy_options::recursive);
  const Outcome larger = train("larger", "larger", "--resume " + (folder_ / "larger/checkpoints").string());
  ASSERT_EQ(larger.exit_code, 0) << larger.err;
  EXPECT_THAT(larger.err, HasSubstr("micro-batches of 8 samples and goes on with 16"));

  const Outcome resumed = train("single", "parts", "--resume " + checkpoints);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  const auto whole = losses_of(folder_ / "whole/record.jsonl");
  EXPECT_EQ(whole.size(), 40U);
  EXPECT_EQ(losses_of(record), whole);
  EXPECT_THAT(resumed.err, Not(HasSubstr("micro-batches")));
}

TEST_F(Job, PlansAreRunInTurnAndComparedWithTheirPredictions) {
  configure(3);
  const Outcome outcome = motley_program(
      fmt::format("bench plans {} --planners uniform single --repeats 2 --steps 3 --json", config_.string()));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto result = nlohmann::json::parse(outcome.out);
  EXPECT_TRUE(result.at("emulated").get<bool>());
  ASSERT_EQ(result.at("plans").size(), 2U);
  for (const nlohmann::json& row : result.at("plans")) {
    EXPECT_EQ(row.at("runs_s").size(), 2U);
    EXPECT_GT(row.at("measured_s").get<double>(), 0.0);
    EXPECT_DOUBLE_EQ(row.at("error").get<double>(),
                     row.at("predicted_s").get<double>() / row.at("measured_s").get<double>() - 1.0);
  }
  EXPECT_GE(result.at("kendall_tau").get<double>(), -1.0);
  // For a profile alone nothing runs.
  const std::string profile = (run_ / "bench-plans" / "profile.json").string();
  const Outcome predicted = motley_program(fmt::format("bench plans --profile {} --batch 64", profile));
  ASSERT_EQ(predicted.exit_code, 0) << predicted.err;
  EXPECT_THAT(predicted.out, AllOf(HasSubstr("exact"), HasSubstr("dapple"), HasSubstr("no plan of these"),
                                   Not(HasSubstr("measured"))));
}

TEST_F(Job, RanksAndConfigurationMustAgree) {
  configure(2);
  const Outcome outcome = motley_on_ranks(3, "profile " + config_.string());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("job.toml: devices.ranks: found 2"), HasSubstr("3 ranks")));
}

}  // namespace
}  // namespace motley

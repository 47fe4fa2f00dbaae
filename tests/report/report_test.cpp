#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "motley/base/error.h"
#include "motley/plan/files.h"
#include "motley/record/json_lines.h"
#include "motley/report/page.h"
#include "motley/schedule/simulate.h"
#include "partitioner/instances.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A run of two stages on ranks 0 and 1, as the engine would have written it.
class Report : public testing::Test {
 protected:
  Report() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    SearchOptions options;
    options.global_batch = 8;
    options.micro_batch_sizes = {1};
    plan_ = found(find_plan("uniform", profile_, options)).plan;
  }
  ~Report() override { std::filesystem::remove_all(folder_); }

  void start(std::int64_t first_step = 0) {
    lines_.push_back(
        {{"kind", "start"}, {"emulated", true}, {"plan", to_json(plan_)}, {"first_step", first_step}, {"steps", 20}});
  }

  /// A step that took `wall`; of the one before it rank 0 computed `busy` and waited the rest.
  void step(std::int64_t number, double loss, double wall, double busy) {
    lines_.push_back({{"kind", "step"}, {"step", number}, {"loss", loss}, {"gradient_norm", 1.0}, {"wall_s", wall}});
    for (int rank = 0; rank < 2 && number > 0; ++rank) {
      const double own = busy * (rank + 1);
      lines_.back()["ranks_one_step_before"].push_back(
          {{"busy_s", own}, {"wait_s", std::max(0.0, wall - own)}, {"transfer_s", 0.001}});
    }
  }

  void summary() {
    lines_.push_back(
        {{"kind", "summary"},
         {"ranks", {{{"peak_memory_bytes", 9e8}}, {{"peak_memory_bytes", 2e6}}}},
         {"sends",
          {{{"from", 0}, {"to", 1}, {"kind", "0SEND_F"}, {"messages", 8}, {"bytes", 8000}, {"time_s", 8e-5}},
           {{"from", 1}, {"to", 0}, {"kind", "1SEND_B"}, {"messages", 8}, {"bytes", 8000}, {"time_s", 8e-3}}}}});
  }

  RunData read() {
    JsonLines record(folder_ / "record.jsonl");
    for (const nlohmann::json& line : lines_) {
      record.append(line);
    }
    return read_run(folder_);
  }

  AnalysedRun analysed() {
    RunData run = read();
    Analysis analysis = analyse(run);
    return {std::move(run), std::move(analysis)};
  }

  const Profile profile_ = plain_profile(6, {0, 1});
  Plan plan_;
  std::vector<nlohmann::json> lines_;
  const std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / "motley-report";
};

TEST_F(Report, MediansLeaveOutTheFirstStepsAndTimesBelongToTheStepBefore) {
  write_profile(folder_ / "profile.json", profile_);
  start();
  step(0, 3.0, 9.0, 0.0);
  step(1, 2.5, 9.0, 5.0);
  for (int i = 2; i < 9; ++i) {
    step(i, 2.0 - 0.1 * i, 0.1 + 0.001 * i, i == 2 ? 5.0 : 0.02);
  }
  summary();
  const AnalysedRun run = analysed();
  EXPECT_EQ(run.analysis.settled_steps, 7);
  EXPECT_DOUBLE_EQ(run.analysis.iteration.measured->value, 0.105);
  EXPECT_DOUBLE_EQ(run.data.steps[1].ranks[0].busy.value, 5.0);
  EXPECT_THAT(run.data.steps[8].ranks, IsEmpty());
  EXPECT_DOUBLE_EQ(run.analysis.ranks[0].measured->busy.value, 0.02);
  EXPECT_DOUBLE_EQ(run.analysis.ranks[1].measured->busy.value, 0.04);
  EXPECT_NEAR(*run.analysis.idle_share, 1.0 - 0.06 / 0.21, 1e-12);
  EXPECT_EQ(run.analysis.samples, 8);
}

TEST_F(Report, PredictionsAreTheSimulatorsAndLinksAreHeldAgainstTheProfile) {
  write_profile(folder_ / "profile.json", profile_);
  start();
  step(0, 1.0, 0.1, 0.0);
  step(1, 1.0, 0.1, 0.02);
  summary();
  const Analysis analysis = analysed().analysis;
  const Simulation simulation = simulate(schedule_of(plan_, 2, true), costs_of(plan_, profile_), {.events = true});
  ASSERT_EQ(analysis.ranks.size(), 2U);
  for (const RankAnalysis& rank : analysis.ranks) {
    const auto index = static_cast<std::size_t>(rank.rank);
    EXPECT_EQ(rank.busy.predicted, simulation.busy[index]);
    EXPECT_EQ(rank.memory.predicted, simulation.peak_memory[index]);
    EXPECT_EQ(rank.limit, Bytes{1'000'000'000});
  }
  EXPECT_EQ(analysis.iteration.predicted, plan_.prediction->iteration);
  EXPECT_EQ(analysis.simulated.size(), simulation.events.size());
  ASSERT_EQ(analysis.links.size(), 2U);
  // 10 us and 1000 bytes at 1 GB/s, eight times.
  EXPECT_NEAR(analysis.links[0].time.predicted->value, 8 * 11e-6, 1e-12);
  EXPECT_NEAR(analysis.links[0].time.measured->value, 8e-5, 1e-12);
  ASSERT_EQ(analysis.edges.size(), 1U);
  EXPECT_NEAR(analysis.edges[0].time.measured->value, 1e-5 + 1e-3, 1e-12);
  EXPECT_EQ(analysis.edges[0].time.predicted, plan_.prediction->edge_time[0]);
}

TEST_F(Report, PassesAreMediansOfTheTrace) {
  write_profile(folder_ / "profile.json", profile_);
  start();
  step(0, 1.0, 0.1, 0.0);
  write_trace(folder_ / "trace.json", {{"0F0", "compute", "measured", "rank 0", Seconds{5.000}, Seconds{5.003}},
                                       {"0F1", "compute", "measured", "rank 0", Seconds{5.003}, Seconds{5.005}},
                                       {"0F2", "compute", "measured", "rank 0", Seconds{5.005}, Seconds{5.009}},
                                       {"wait 0RECV_B0", "wait", "measured", "rank 0", Seconds{5.009}, Seconds{5.1}}});
  const Analysis analysis = analysed().analysis;
  ASSERT_EQ(analysis.passes.size(), 1U);
  EXPECT_EQ(analysis.passes[0].pass, "forward");
  EXPECT_EQ(analysis.passes[0].count, 3U);
  EXPECT_NEAR(analysis.passes[0].time.measured->value, 0.003, 1e-9);
  EXPECT_NEAR(analysis.passes[0].time.predicted->value, 0.003, 1e-9);  // three layers of 1 ms
  EXPECT_NEAR(analysis.traced_iteration->value, 0.1, 1e-9);
}

TEST_F(Report, AResumedRunsLaterStepsCountAndItsLastPlan) {
  start();
  for (int i = 0; i < 6; ++i) {
    step(i, 10.0 + i, 1.0, 0.1);
  }
  plan_.planner = "other";
  start(4);
  for (int i = 4; i < 6; ++i) {
    step(i, 20.0 + i, 0.5, 0.1);
  }
  const AnalysedRun run = analysed();
  EXPECT_EQ(run.data.plan.planner, "other");
  ASSERT_EQ(run.data.steps.size(), 6U);
  EXPECT_EQ(run.data.steps[3].loss, 13.0);
  EXPECT_EQ(run.data.steps[4].loss, 24.0);
  EXPECT_EQ(run.analysis.settled_steps, 2);
  EXPECT_DOUBLE_EQ(run.analysis.iteration.measured->value, 0.5);
}

TEST_F(Report, OfARunThatWasKilledSaysWhatIsKnown) {
  start();
  step(0, 1.0, 0.1, 0.0);
  const AnalysedRun run = analysed();
  EXPECT_FALSE(run.analysis.ranks[0].memory.measured);
  EXPECT_THAT(run.analysis.links, IsEmpty());
  EXPECT_THAT(run.analysis.note, HasSubstr("no profile.json"));
  EXPECT_THAT(findings(run), Contains(HasSubstr("The record ends after 1 of 20 steps")));
  EXPECT_THAT(page_of(std::span(&run, 1)), HasSubstr("1F1B"));
}

TEST_F(Report, EvenARunBeforeItsFirstStepHasAPage) {
  start();
  const AnalysedRun run = analysed();
  EXPECT_THAT(paragraph(std::span(&run, 1)), HasSubstr("no step has ended yet"));
  EXPECT_GT(page_of(std::span(&run, 1)).size(), 1'000'000U);
}

TEST_F(Report, WhatStandsOutIsNamedWithItsNumbers) {
  write_profile(folder_ / "profile.json", profile_);
  start();
  for (int i = 0; i < 12; ++i) {
    step(i, 1.0 - 0.05 * i, i % 3 == 0 ? 0.1 : 0.2, 0.08);
  }
  summary();
  const AnalysedRun run = analysed();
  EXPECT_THAT(findings(run),
              AllOf(Contains(HasSubstr("longer than predicted")), Contains(HasSubstr("Iterations are uneven")),
                    Contains(HasSubstr("link from rank 1 to 0 takes 90.9 times its profiled time")),
                    Contains(HasSubstr("Rank 0 has a peak of 900.0 MB"))));
  EXPECT_THAT(paragraph(std::span(&run, 1)),
              AllOf(HasSubstr("\"uniform\""), HasSubstr("2 emulated devices"), HasSubstr("8 micro-batches of 1"),
                    HasSubstr("from 1.0000 to 0.4500"), HasSubstr("rank 1 is the busiest"),
                    HasSubstr("900.0 MB of 1.00 GB (90 %)")));
}

TEST_F(Report, AQuietRunHasNothingThatStandsOut) {
  write_profile(folder_ / "profile.json", profile_);
  start();
  const double wall = plan_.prediction->iteration.value;
  for (int i = 0; i < 20; ++i) {
    step(i, 1.0, wall, plan_.prediction->stage_busy[1].value / 2);
  }
  EXPECT_THAT(findings(analysed()), testing::Each(Not(HasSubstr("predicted"))));
}

TEST_F(Report, DataCannotEndTheScriptThatHoldsIt) {
  Profile profile = profile_;
  profile.cluster.devices[0].name = "</script><script>alert(1)//<!--";
  plan_.profile_fingerprint = fingerprint(profile);
  write_profile(folder_ / "profile.json", profile);
  start();
  step(0, 1.0, 0.1, 0.0);
  const AnalysedRun run = analysed();
  const std::string page = page_of(std::span(&run, 1));
  const std::string head = "<script type=\"application/json\" id=\"data\">";
  const std::size_t begin = page.find(head) + head.size();
  const std::string data = page.substr(begin, page.find("</script>", begin) - begin);
  EXPECT_EQ(nlohmann::json::parse(data), page_data(std::span(&run, 1)));
  EXPECT_THAT(page, Not(HasSubstr("alert(1)//<!--")));
}

TEST_F(Report, AProfileOfAnotherPlanIsToldAndNotUsed) {
  write_profile(folder_ / "profile.json", plain_profile(6, {1, 1}));
  start();
  step(0, 1.0, 0.1, 0.0);
  const AnalysedRun run = analysed();
  EXPECT_FALSE(run.data.profile);
  EXPECT_THAT(run.analysis.note, HasSubstr("is not the one the plan was made for"));
}

TEST_F(Report, ComparedRunsFollowInOrderUnderTheirPlanners) {
  start();
  step(0, 1.0, 0.1, 0.0);
  (void)read();
  for (const std::string other : {"compare-uniform", "compare-single", "elsewhere"}) {
    std::filesystem::create_directories(folder_ / other);
    std::filesystem::copy_file(folder_ / "record.jsonl", folder_ / other / "record.jsonl");
  }
  std::vector<std::string> names;
  for (const RunData& run : read_run_and_comparisons(folder_)) {
    names.push_back(run.name);
  }
  EXPECT_THAT(names, ElementsAre("motley-report", "single", "uniform"));
}

TEST_F(Report, WhatCannotBeReadIsNamed) {
  const auto complaint = [&](const std::filesystem::path& folder) {
    try {
      (void)read_run(folder);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("was read");
  };
  EXPECT_THAT(complaint("nowhere"), HasSubstr("nowhere: is no folder"));
  EXPECT_THAT(complaint(folder_), HasSubstr("record.jsonl: cannot be read"));
  std::ofstream(folder_ / "record.jsonl") << "{\"kind\":\"step\",\"step\":0}\n";
  EXPECT_THAT(complaint(folder_), HasSubstr("record.jsonl: line 1: field \"loss\" is missing"));
  std::ofstream(folder_ / "record.jsonl") << "{\"kind\":\"other\"}\n";
  EXPECT_THAT(complaint(folder_), HasSubstr("has no line of kind \"start\""));
  start();
  (void)read();
  std::ofstream(folder_ / "evaluation.json") << to_json(plan_);
  EXPECT_THAT(complaint(folder_), HasSubstr("evaluation.json: field \"motley\" says \"plan\""));
}

}  // namespace
}  // namespace motley

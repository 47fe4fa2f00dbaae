// PyTorch's golden schedules (test/distributed/pipelining/artifacts), read from ../shared/data where they are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

class Golden : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(folder_)) {
      GTEST_SKIP() << "no third-party data at " << folder_ << ": PyTorch's golden schedules are not checked";
    }
  }

  std::string text_of(const std::string& name) const {
    std::ifstream in(folder_ / name, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  Schedule read(const std::string& name) const { return read_csv(folder_ / name); }

  std::filesystem::path folder_ = std::filesystem::path(MOTLEY_SHARED_DATA) / "schedules";
};

constexpr const char* kZeroBubble = "zb1p_2rank_2stagep_compute.csv";
constexpr const char* kZeroBubbleLowered = "zb1p_2rank_2stagep_comms.csv";
constexpr const char* kDualPipe = "dualpipev_4rank_10mb.csv";

std::vector<std::string> messages(const std::vector<Problem>& problems) {
  std::vector<std::string> texts;
  for (const Problem& problem : problems) texts.push_back(problem.message);
  return texts;
}

/// F = I = W = 1, B = 2, transfers free: a tick is one pass.
PipelineCosts ticks(int stages) {
  StageCosts cost;
  cost.forward = cost.backward_input = cost.backward_weight = Seconds{1.0};
  cost.backward = Seconds{2.0};
  PipelineCosts costs;
  costs.stages.assign(static_cast<std::size_t>(stages), cost);
  costs.transfer = [](int, int, Bytes) { return Seconds{0.0}; };
  return costs;
}

Schedule without_idle(Schedule schedule) {
  for (auto& row : schedule.ranks) std::erase_if(row, [](const Action& action) { return action.op == Op::Idle; });
  return schedule;
}

TEST_F(Golden, EveryFilePrintsBackByteForByte) {
  for (const char* name : {kZeroBubble, kZeroBubbleLowered, kDualPipe}) {
    EXPECT_EQ(to_csv(read(name)), text_of(name)) << name;
  }
}

TEST_F(Golden, ZeroBubbleIsValidAsComputeAsPyTorchLoweredItAndAsWeLowerIt) {
  EXPECT_THAT(messages(validate(read(kZeroBubble))), testing::IsEmpty());
  EXPECT_THAT(messages(validate(read(kZeroBubbleLowered))), testing::IsEmpty());
  EXPECT_THAT(messages(validate(read(kZeroBubbleLowered), {.receives_wait = true})), testing::IsEmpty());
  for (const int ahead : {1, 2, 5}) {
    EXPECT_THAT(messages(validate(add_transfers(read(kZeroBubble), ahead))), testing::IsEmpty());
  }
  EXPECT_EQ(compute_only(add_transfers(read(kZeroBubble))), without_idle(read(kZeroBubble)));
}

TEST_F(Golden, PyTorchSendsAndReceivesWhatWeDo) {
  // Its compute is another one (B for a rank's first stage), its transfers are those that any lowering needs.
  const Schedule theirs = read(kZeroBubbleLowered);
  const auto transfers = [](const Schedule& schedule) {
    std::vector<std::string> names;
    for (const auto& row : schedule.ranks) {
      for (const Action& action : row) {
        if (is_send(action.op) || is_receive(action.op)) names.push_back(to_string(action));
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  };
  EXPECT_EQ(transfers(add_transfers(compute_only(theirs))), transfers(theirs));
}

TEST_F(Golden, ZeroBubbleTakes49TicksWith4InFlight) {
  const Simulation simulation = simulate(read(kZeroBubble), ticks(4));
  EXPECT_DOUBLE_EQ(simulation.iteration.value, 49.0);
  EXPECT_EQ(*std::max_element(simulation.peak_in_flight.begin(), simulation.peak_in_flight.end()), 4);
}

TEST_F(Golden, DualPipeVIsValidButForTheOrderOfWeightGradients) {
  for (const Schedule& schedule : {read(kDualPipe), add_transfers(read(kDualPipe))}) {
    for (const Problem& problem : validate(schedule)) {
      EXPECT_EQ(problem.kind, Problem::Kind::WeightOrder) << problem.message;
    }
  }
}

TEST_F(Golden, DualPipeVTakes66TicksWith9InFlight) {
  const Simulation simulation = simulate(read(kDualPipe), ticks(8));
  EXPECT_DOUBLE_EQ(simulation.iteration.value, 66.0);
  EXPECT_EQ(*std::max_element(simulation.peak_in_flight.begin(), simulation.peak_in_flight.end()), 9);
}

}  // namespace
}  // namespace motley

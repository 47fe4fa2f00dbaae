#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Outcome {
  int exit_code = -1;
  std::string output;
  std::vector<std::string> said{"", "", ""};  ///< by rank: its lines, without their head
  int left_over = 0;                          ///< processes still there
};

int processes_with(const std::string& tag) {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (text.find(tag) != std::string::npos) ++found;
  }
  return found;
}

/// Three ranks under plain mpirun.
Outcome run(const std::string& scenario, const std::string& transport, double deadline) {
  const std::string tag = fmt::format("motley-{}-{}-{}", scenario, transport, getpid());
  const std::string command =
      fmt::format("timeout -k 5 60 {} --allow-run-as-root --oversubscribe -n 3 {} {} {} {} {} 2>&1", MOTLEY_MPIEXEC,
                  MOTLEY_COMM_DRIVER, scenario, transport, deadline, tag);
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> line{};
  while (fgets(line.data(), line.size(), pipe) != nullptr) {
    const std::string text = line.data();
    outcome.output += text;
    for (std::size_t rank = 0; rank < outcome.said.size(); ++rank) {
      const std::string head = fmt::format("driver: rank {}: ", rank);
      if (text.rfind(head, 0) == 0) outcome.said[rank] += text.substr(head.size());
    }
  }
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.left_over = processes_with(tag);
  return outcome;
}

class OverMpirun : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Transport, OverMpirun, testing::Values("tcp", "mpi"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST_P(OverMpirun, CarriesMessagesAndReductions) {
  const Outcome outcome = run("exchange", GetParam(), 10);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.said, testing::Each("all is well\n"));
}

TEST_P(OverMpirun, HoldsMessagesBackOnAnEmulatedLink) {
  const Outcome outcome = run("paced", GetParam(), 10);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.said, testing::Each("all is well\n"));
}

TEST_P(OverMpirun, ConnectsAgainAfterAGoodbye) {
  const Outcome outcome = run("twice", GetParam(), 10);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.said, testing::Each("all is well\nall is well\n"));
}

TEST_P(OverMpirun, NamesSizesThatDisagreeOnEveryRank) {
  const Outcome outcome = run("mismatch", GetParam(), 10);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_THAT(outcome.said, testing::Each("rank 0 sent 12 bytes as 0SEND_F3 to rank 1, which expected 1 bytes as "
                                          "1RECV_F3\n"))
      << outcome.output;
}

TEST_P(OverMpirun, TellsTheReasonOfAnAbortOnEveryRank) {
  const Outcome outcome = run("abort", GetParam(), 10);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_THAT(outcome.said, testing::Each("rank 2 ended the run: loss is not a number\n")) << outcome.output;
}

TEST_P(OverMpirun, TellsWhyARankThrewOnEveryRank) {
  const Outcome outcome = run("throws", GetParam(), 10);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  EXPECT_EQ(outcome.said[0], "rank 2 ended the run: no more memory\n") << outcome.output;
  EXPECT_EQ(outcome.said[1], "rank 2 ended the run: no more memory\n") << outcome.output;
  // Its own line comes from whoever is first: the handler of the exception or that of mpirun's signal.
  EXPECT_THAT(outcome.said[2], HasSubstr("no more memory\n")) << outcome.output;
  EXPECT_EQ(outcome.left_over, 0);
}

TEST_P(OverMpirun, NamesAKilledRankOnEverySurvivorBeforeMpirunEndsThem) {
  const Outcome outcome = run("killed", GetParam(), 10);
  EXPECT_NE(outcome.exit_code, 0);
  const auto names_it = HasSubstr("rank 2 is gone (connection closed)");
  EXPECT_THAT(outcome.said[0], names_it) << outcome.output;
  EXPECT_THAT(outcome.said[1], names_it) << outcome.output;
  EXPECT_EQ(outcome.left_over, 0);
}

TEST_P(OverMpirun, NamesAStoppedRankOnEverySurvivor) {
  const Outcome outcome = run("stopped", GetParam(), 2);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  const auto names_it = AllOf(HasSubstr("rank 2"), HasSubstr("silent for"), HasSubstr("last seen in 2B1"));
  EXPECT_THAT(outcome.said[0], names_it) << outcome.output;
  EXPECT_THAT(outcome.said[1], names_it) << outcome.output;
  EXPECT_EQ(outcome.left_over, 0);
}

TEST_P(OverMpirun, NamesAStuckRankOnEveryRankAndEndsIt) {
  const Outcome outcome = run("stuck", GetParam(), 2);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.output;
  for (const std::string& said : outcome.said) {
    EXPECT_THAT(said, HasSubstr("rank 2 has been in 2B1 for")) << outcome.output;
  }
  EXPECT_EQ(outcome.left_over, 0);
}

}  // namespace

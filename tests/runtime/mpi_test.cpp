// Ranks as processes under mpirun, over both transports.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <set>
#include <sstream>

#include "runtime/digest.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

constexpr int kRanks = 3;
constexpr int kMicroBatches = 5;  // as in mpi_driver.cpp, as are the steps
constexpr int kSteps = 3;

struct Printed {
  int exit_code = -1;
  std::string output;
  std::multiset<std::string> said;  ///< lines of the driver, without their head
};

Printed run(const std::string& transport) {
  const std::string command =
      fmt::format("timeout -k 5 100 {} --allow-run-as-root --oversubscribe --bind-to none -n {} {} {} 2>&1",
                  MOTLEY_MPIEXEC, kRanks, MOTLEY_RUNTIME_DRIVER, transport);
  Printed printed;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) {
    return printed;
  }
  std::array<char, 4096> line{};
  while (fgets(line.data(), line.size(), pipe) != nullptr) {
    const std::string text = line.data();
    printed.output += text;
    if (text.rfind("driver: ", 0) == 0) {
      printed.said.insert(text.substr(8, text.size() - 9));
    }
  }
  const int status = pclose(pipe);
  printed.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return printed;
}

class OverMpirun : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Transport, OverMpirun, testing::Values("tcp", "mpi"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST_P(OverMpirun, ProcessesGiveTheBitsOfThePlainLoopInThePredictedMemory) {
  const Printed found = run(GetParam());
  ASSERT_EQ(found.exit_code, 0) << found.output;
  const Outcome plain = plain_loop(small_router(), kMicroBatches, kSteps);
  std::multiset<std::string> expected;
  for (std::size_t step = 0; step < kSteps; ++step) {
    expected.insert(fmt::format("step {} {:a} {:a}", step, plain.losses[step], plain.norms[step]));
  }
  for (std::size_t layer = 0; layer < plain.weights.size(); ++layer) {
    expected.insert(fmt::format("layer {} {}", layer, digest(plain.weights[layer])));
  }
  std::multiset<std::string> bits;
  for (const std::string& line : found.said) {
    if (line.rfind("memory", 0) != 0) {
      bits.insert(line);
      continue;
    }
    std::istringstream fields(line);
    std::string word;
    std::int64_t rank = 0, peak = 0, row = 0, edges = 0;
    fields >> word >> rank >> peak >> row >> edges;
    // The row's own peak counts one made-up input. The executor may hold more: of every edge two posted receives and,
    // where they have not left yet, sends: no more of them than there are micro-batches.
    EXPECT_GE(peak, row) << line;
    EXPECT_LE(peak, row + edges * (2 + kMicroBatches)) << line;
  }
  EXPECT_EQ(bits, expected) << found.output;
}

}  // namespace
}  // namespace motley

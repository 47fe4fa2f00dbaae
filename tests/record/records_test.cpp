#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "motley/base/error.h"
#include "motley/record/json_lines.h"
#include "motley/record/trace.h"

namespace motley {
namespace {

std::filesystem::path temporary(const char* name) {
  return std::filesystem::path(testing::TempDir()) / name;
}

TEST(JsonLines, KeepsDoublesBitForBit) {
  const auto file = temporary("motley-lines.jsonl");
  const double loss = 0.1 + 0.2;
  JsonLines(file).append({{"loss", loss}});
  EXPECT_EQ(read_json_lines(file).at(0).at("loss").get<double>(), loss);
  std::filesystem::remove(file);
}

TEST(JsonLines, NamesTheBadLine) {
  const auto file = temporary("motley-bad.jsonl");
  std::ofstream(file) << "{}\n{\n";
  try {
    (void)read_json_lines(file);
    FAIL() << "did not throw";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("line 2"));
  }
  std::filesystem::remove(file);
  EXPECT_THROW((void)read_json_lines(file), InputError);
}

TEST(Trace, IsChromesFormatWithOneLanePerRank) {
  const auto file = temporary("motley-trace.json");
  write_trace(file, {{"0F0", "compute", "simulated", "rank 0", Seconds{0.0}, Seconds{0.5}},
                     {"0F1", "compute", "simulated", "rank 0", Seconds{0.5}, Seconds{1.0}},
                     {"1F0", "compute", "simulated", "rank 1", Seconds{0.5}, Seconds{1.0}}});
  std::ifstream in(file);
  const nlohmann::json trace = nlohmann::json::parse(in);
  int bars = 0;
  std::set<int> lanes;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X") {
      ++bars;
      lanes.insert(event.at("tid").get<int>());
      EXPECT_NEAR(event.at("dur").get<double>(), 5e5, 1e-6);
    }
  }
  EXPECT_EQ(bars, 3);
  EXPECT_EQ(lanes.size(), 2U);
  std::filesystem::remove(file);
}

TEST(Trace, IsReadAsItWasWritten) {
  const auto file = temporary("motley-trace-again.json");
  const std::vector<TraceEvent> events{{"0F0", "compute", "measured", "rank 0", Seconds{0.25}, Seconds{0.5}},
                                       {"0SEND_F0", "transfer", "measured", "rank 0 to 1", Seconds{0.5}, Seconds{0.75}},
                                       {"0F0", "compute", "simulated", "rank 0", Seconds{0.0}, Seconds{0.125}}};
  write_trace(file, events);
  const std::vector<TraceEvent> read = read_trace(file);
  ASSERT_EQ(read.size(), events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(read[i].name, events[i].name);
    EXPECT_EQ(read[i].category, events[i].category);
    EXPECT_EQ(read[i].process, events[i].process);
    EXPECT_EQ(read[i].lane, events[i].lane);
    EXPECT_NEAR(read[i].start.value, events[i].start.value, 1e-9);
    EXPECT_NEAR(read[i].end.value, events[i].end.value, 1e-9);
  }
  std::filesystem::remove(file);
}

TEST(Trace, WhatIsNoTraceIsRefusedByName) {
  const auto file = temporary("motley-trace-bad.json");
  const auto complaint = [&](const std::string& text) {
    std::ofstream(file) << text;
    try {
      (void)read_trace(file);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("was read");
  };
  EXPECT_THAT(complaint("[1"), testing::HasSubstr("motley-trace-bad.json: is not a trace"));
  EXPECT_THAT(complaint(R"({"traceEvents":[{"ph":"X","ts":0,"dur":1,"name":"a","cat":"b","pid":1,"tid":1}]})"),
              testing::HasSubstr("traceEvents[0]: names a process or thread"));
  EXPECT_THAT(complaint(R"({"traceEvents":[{"ph":"M","name":"x"},{"ph":1}]})"), testing::HasSubstr("traceEvents[1]"));
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace motley

#include "motley/schedule/action.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "motley/base/error.h"
#include "motley/schedule/schedule.h"
#include "random_schedule.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ActionText, EveryFormIsReadAsItIsPrinted) {
  for (const char* text : {"",
                           "0F0",
                           "12F345",
                           "3I1",
                           "3W1",
                           "3B1",
                           "0SEND_F3",
                           "1RECV_F3",
                           "1SEND_B3",
                           "0RECV_B3",
                           "0SEND_F3[2:8]",
                           "0SEND_F3@4",
                           "1RECV_B7[0:1]@12",
                           "2UNSHARD",
                           "2RESHARD",
                           "2REDUCE_GRAD",
                           "2RECOMPUTE5",
                           "2NORM",
                           "2UPDATE",
                           "(0F7;7B3)OVERLAP_F_B",
                           "(10F11;3I12)OVERLAP_F_B"}) {
    EXPECT_EQ(to_string(parse_action(text)), text);
  }
}

TEST(ActionText, IsReadToItsMeaning) {
  EXPECT_EQ(parse_action("0F3"), (Action{Op::Forward, 0, 3}));
  EXPECT_EQ(parse_action("5RECV_B12"), (Action{Op::ReceiveBackward, 5, 12}));
  EXPECT_EQ(parse_action("2UPDATE"), (Action{Op::Update, 2}));
  EXPECT_EQ(parse_action("1SEND_F2[3:5]@7"), (Action{Op::SendForward, 1, 2, 7, 3, 5}));
  const Action overlap = parse_action("(0F7;7B3)OVERLAP_F_B");
  EXPECT_EQ(overlap.op, Op::OverlapForwardBackward);
  EXPECT_EQ(overlap.parts, (std::vector<Action>{{Op::Forward, 0, 7}, {Op::Backward, 7, 3}}));
}

TEST(ActionText, WhatIsWrongIsNamedWithWhatWasExpected) {
  const auto complaint = [](const std::string& text) -> std::string {
    try {
      (void)parse_action(text);
      return "";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  for (const auto& [text, expected] :
       std::vector<std::pair<std::string, std::string>>{{"F0", "a stage first"},
                                                        {"-1F0", "a stage first"},
                                                        {"0X3", "SEND_F, RECV_F"},
                                                        {"0F", "a micro-batch last"},
                                                        {"0F-1", "a micro-batch last"},
                                                        {"0F99999999999", "a micro-batch last"},
                                                        {"0F3x", "nothing after \"0F3\""},
                                                        {"0F3@1", "nothing after"},
                                                        {"0UPDATE1", "nothing after"},
                                                        {"0SEND_F3[4:4]", "begin < end"},
                                                        {"0SEND_F3[4", "begin < end"},
                                                        {"0SEND_F3@", "a rank after @"},
                                                        {"(0F1;1B0)", "OVERLAP_F_B"},
                                                        {"(0F1)OVERLAP_F_B", "two actions"},
                                                        {"(0F1;1UPDATE)OVERLAP_F_B", "F, I, W or B"},
                                                        {"(0F1;(0F2;1B0)OVERLAP_F_B)OVERLAP_F_B", "OVERLAP_F_B"},
                                                        {" 0F1", "a stage first"}}) {
    EXPECT_THAT(complaint(text), AllOf(HasSubstr("\"" + text.substr(0, 3)), HasSubstr(expected))) << text;
  }
}

TEST(ScheduleCsv, RandomSchedulesAreReadAsTheyArePrinted) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const Schedule schedule = random_schedule(seed);
    EXPECT_EQ(parse_csv(to_csv(schedule), "test"), schedule) << "seed " << seed;
  }
}

TEST(ScheduleCsv, KeepsEmptyCellsAndReadsBothLineEndings) {
  const Schedule schedule = parse_csv("0F0,,0B0\r\n,1F0,1B0\n", "test");
  ASSERT_EQ(schedule.rank_count(), 2);
  EXPECT_EQ(schedule.ranks[0][1].op, Op::Idle);
  EXPECT_EQ(to_csv(schedule), "0F0,,0B0\n,1F0,1B0\n");
}

TEST(ScheduleCsv, AnErrorNamesSourceRowAndColumn) {
  for (const auto& [text, where] : std::vector<std::pair<std::string, std::string>>{
           {"0F0,0B0\n1F0,1X0\n", "bad.csv: row 2, column 2"}, {"", "bad.csv: found no rows"}}) {
    try {
      (void)parse_csv(text, "bad.csv");
      ADD_FAILURE() << text;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(where));
    }
  }
  EXPECT_THROW((void)read_csv("/no/such/file.csv"), InputError);
}

TEST(ScheduleRanks, AStageOnTwoRanksOrOnNoneIsRefused) {
  EXPECT_EQ(parse_csv("1F0,0F0\n2F0\n", "test").rank_of_stage(), (std::vector<int>{0, 0, 1}));
  EXPECT_THROW((void)parse_csv("0F0\n0F1\n", "test").rank_of_stage(), InputError);
  EXPECT_THROW((void)parse_csv("0F0\n2F0\n", "test").rank_of_stage(), InputError);
}

}  // namespace
}  // namespace motley

#include "motley/profiler/codecs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace motley {
namespace {

// A format's encodings and decodings of three messages, by turns.
TEST(Codecs, AreMediansOfRanksAndWhatOneOfThemLacksNoneHas) {
  const std::vector<double> full{1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12};
  std::vector<double> quick = full;
  for (double& time : quick) time *= 0.5;
  DeviceTable table;
  put_codecs({full, quick}, table);
  EXPECT_TRUE(table.lacks.empty());
  ASSERT_EQ(table.codecs.size(), 2U);
  EXPECT_DOUBLE_EQ(table.codecs["bfloat16"].encode.points()[1].time.value, 1.5);
  EXPECT_DOUBLE_EQ(table.codecs["int8"].decode.points()[2].time.value, 9.0);

  std::vector<double> without_int8 = full;
  std::fill(without_int8.begin() + 6, without_int8.end(), 0.0);
  for (const auto& ranks : std::vector<std::vector<std::vector<double>>>{{without_int8}, {full, without_int8}}) {
    DeviceTable poorer;
    put_codecs(ranks, poorer);
    EXPECT_EQ(poorer.lacks, std::vector<std::string>{"int8"});
    EXPECT_TRUE(poorer.codecs.contains("bfloat16"));
    EXPECT_FALSE(poorer.codecs.contains("int8"));
    EXPECT_FALSE(poorer.can_encode("int8"));
    EXPECT_TRUE(poorer.can_encode("bfloat16") && poorer.can_encode("float32"));
  }
}

}  // namespace
}  // namespace motley

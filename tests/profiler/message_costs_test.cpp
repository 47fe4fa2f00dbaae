#include "motley/profiler/message_costs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "ranks.h"

namespace motley {
namespace {

TEST(MessageCosts, AreAddedToWhatFormatsTakeByTheBytesThatMove) {
  const TransferCurve coding({{Bytes{65'536}, Seconds{1.0}}, {Bytes{1'048'576}, Seconds{8.0}}});
  DeviceTable table;
  table.codecs["bfloat16"] = {coding, coding};
  put_message_costs({0.0, 0.0, 0.0, 0.0}, table);
  EXPECT_EQ(table.codecs.size(), 1U);
  EXPECT_EQ(table.codecs["bfloat16"].encode.points(), coding.points());

  // 16 KiB sent and received, then 256 KiB.
  put_message_costs({0.1, 0.2, 1.6, 3.2}, table);
  ASSERT_TRUE(table.codecs.contains("float32"));
  EXPECT_DOUBLE_EQ(table.codecs["float32"].encode.time(Bytes{262'144}).value, 1.6);
  EXPECT_DOUBLE_EQ(table.codecs["float32"].decode.time(Bytes{16'384}).value, 0.2);
  // Half of the bytes move.
  EXPECT_DOUBLE_EQ(table.codecs["bfloat16"].encode.time(Bytes{1'048'576}).value,
                   8.0 + table.codecs["float32"].encode.time(Bytes{524'288}).value);
}

TEST(MessageCosts, ASmallerMessageNeverTakesMoreThanALargerOne) {
  DeviceTable table;
  put_message_costs({0.5, 0.0, 0.3, 0.1}, table);
  EXPECT_DOUBLE_EQ(table.codecs["float32"].encode.time(Bytes{262'144}).value, 0.5);
}

TEST(MessageCosts, AreMeasuredOnTheFirstRankOfEachType) {
  run_ranks(4, with_deadline(20), [](Communicator& communicator) {
    const std::unique_ptr<ComputeDevice> device = host_device();
    const std::vector<std::string> types{"a", "b", "b", "a"};
    const TransferCurve link(Seconds{1e-4}, BytesPerSecond{1e9});
    const std::vector<std::vector<TransferCurve>> links(4, std::vector<TransferCurve>(4, link));
    const std::vector<double> costs =
        measure_message_costs(communicator, *device, Pacer(), types, links, Seconds{0.01});
    ASSERT_EQ(costs.size(), 4U);
    for (const double cost : costs) {
      EXPECT_TRUE(std::isfinite(cost) && cost >= 0.0 && cost < 1.0) << cost;
      if (communicator.rank() >= 2) EXPECT_EQ(cost, 0.0);
    }
  });
}

}  // namespace
}  // namespace motley

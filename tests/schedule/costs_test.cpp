#include "motley/schedule/costs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "motley/base/error.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

using testing::HasSubstr;

/// Three layers on four devices, two a host; times and bytes of size 8 are three times those of size 2 and not four.
Profile profile_of_two_sizes() {
  Profile profile;
  profile.model.name = "test";
  profile.model.micro_batch_sizes = {2, 8};
  DeviceTimes times;
  times.by_size.resize(2);
  for (int layer = 0; layer < 3; ++layer) {
    const double scale = layer + 1;
    LayerProfile of;
    of.name = "layer" + std::to_string(layer);
    of.parameters = Bytes{1000};
    of.optimizer_state = Bytes{2000};
    if (layer < 2) of.output = {{"hidden", {100}, DType::Float32, true}, {"mask", {10}, DType::Bool, false}};
    for (int size = 0; size < 2; ++size) {
      const double grown = scale * (size == 0 ? 1.0 : 3.0);
      times.by_size[size].push_back({{grown}, {0.75 * grown}, {0.5 * grown}, {1.25 * grown}, 0.0});
      const std::int64_t bytes = size == 0 ? 100 : 301;
      of.memory.push_back({Bytes{bytes}, Bytes{10}, Bytes{2 * bytes}, Bytes{2 * bytes}, Bytes{20}, Bytes{3 * bytes}});
    }
    times.update.push_back({0.1});
    profile.model.layers.push_back(of);
  }
  DeviceTable table{times, times};
  for (auto& row : table.busy.by_size) {
    for (LayerTimes& layer : row) layer.forward = 2.0 * layer.forward;
  }
  const TransferCurve codec(Seconds{0.5}, BytesPerSecond{1e3});
  table.codecs["int8"] = {codec, TransferCurve(Seconds{0.25}, BytesPerSecond{1e3})};
  profile.model.devices["cpu"] = table;
  for (int d = 0; d < 4; ++d) {
    profile.cluster.devices.push_back({"rank" + std::to_string(d), d < 2 ? "a" : "b", "cpu", Bytes{1'000'000}, 0.0});
  }
  profile.cluster.links.assign(4, std::vector<TransferCurve>(4, TransferCurve(Seconds{0.0}, BytesPerSecond{1e3})));
  return profile;
}

Plan one_stage(std::vector<Replica> replicas) {
  Plan plan;
  plan.micro_batch_size = replicas.back().sample_end;
  plan.micro_batches = 2;
  plan.stages = {{0, 3, std::move(replicas), 1, false, "float32"}};
  return plan;
}

TEST(CostsOf, MessagesOfFloat32TakeTimeOnlyWhereTheDeviceSaysSo) {
  Profile profile = profile_of_two_sizes();
  Plan plan = one_stage({{0, 0, 8}});
  plan.stages = {{0, 1, {{0, 0, 8}}, 2, false, "float32"}, {1, 3, {{1, 0, 8}}, 1, false, "float32"}};
  const Seconds without = simulate(schedule_of(plan, 4, true), costs_of(plan, profile)).iteration;
  EXPECT_FALSE(costs_of(plan, profile).codec);
  profile.model.devices["cpu"].codecs["float32"] = {TransferCurve(Seconds{0.5}, BytesPerSecond{1e3}),
                                                    TransferCurve(Seconds{0.25}, BytesPerSecond{1e3})};
  const PipelineCosts costs = costs_of(plan, profile);
  ASSERT_TRUE(costs.codec);
  // 8 samples of 100 float32 and 10 bool values; backward, the first alone.
  const CodecTimes up = costs.codec({0, Pass::Forward}, 0, 1, 0);
  EXPECT_DOUBLE_EQ(up.encode.value, 0.5 + 8 * 410 / 1e3);
  EXPECT_DOUBLE_EQ(up.decode.value, 0.25 + 8 * 410 / 1e3);
  EXPECT_DOUBLE_EQ(costs.codec({0, Pass::Backward}, 1, 0, 0).encode.value, 0.5 + 8 * 400 / 1e3);
  EXPECT_GT(simulate(schedule_of(plan, 4, true), costs).iteration, without);
}

TEST(CostsOf, TimesAndMemoryOfAShareLieBetweenTheMeasuredSizes) {
  const Profile profile = profile_of_two_sizes();
  const PipelineCosts costs = costs_of(one_stage({{0, 0, 5}, {1, 5, 7}}), profile);
  EXPECT_DOUBLE_EQ(costs.of(0, 0).forward.value, 2 * 6 * 2.0);  // halfway from 1 to 3, busy twice alone
  EXPECT_DOUBLE_EQ(costs.of(0, 1).forward.value, 2 * 6 * 1.0);
  EXPECT_EQ(costs.of(0, 0).saved, Bytes{3 * 201});  // 200.5 rounded up
  EXPECT_EQ(costs.of(0, 1).saved, Bytes{300});
  EXPECT_EQ(costs.of(0, 0).resident, Bytes{3 * 4000});
  EXPECT_DOUBLE_EQ(costs_of(one_stage({{0, 0, 8}}), profile).stages[0].forward.value, 6 * 3.0);  // alone
  for (const auto& replicas : {std::vector<Replica>{{0, 0, 1}, {1, 1, 5}}, {{0, 0, 9}}}) {
    try {
      (void)costs_of(one_stage(replicas), profile);
      ADD_FAILURE();
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("outside what was measured, expected 2 to 8"));
    }
  }
}

TEST(CostsOf, RecomputationKeepsTheInputAlone) {
  const Profile profile = profile_of_two_sizes();
  Plan plan = one_stage({{0, 0, 2}});
  plan.stages = {{0, 1, {{0, 0, 2}}, 2, true, "float32"}, {1, 3, {{1, 0, 2}}, 1, true, "float32"}};
  const PipelineCosts costs = costs_of(plan, profile);
  EXPECT_EQ(costs.stages[0].input, Bytes{0});  // the data is read again
  EXPECT_EQ(costs.stages[1].input, Bytes{2 * (400 + 10)});
  EXPECT_EQ(costs.stages[1].unsaved_peak, Bytes{820 + 200});
  const Simulation with = simulate(schedule_of(plan, 2, true), costs);
  plan.stages[0].recompute = plan.stages[1].recompute = false;
  const Simulation without = simulate(schedule_of(plan, 2, true), costs_of(plan, profile));
  EXPECT_GT(with.iteration, without.iteration);
  EXPECT_NEAR((with.busy[0] - without.busy[0]).value, 2 * costs.stages[0].forward.value, 1e-9);
  EXPECT_LT(with.peak_memory[0], without.peak_memory[0]);  // two in flight
}

TEST(CostsOf, AWireFormatHasFewerBytesAndTheTimesOfItsCodec) {
  const Profile profile = profile_of_two_sizes();
  Plan plan = one_stage({{0, 0, 2}});
  plan.stages = {{0, 1, {{0, 0, 2}}, 2, false, "int8"}, {1, 3, {{1, 0, 2}}, 1, false, "float32"}};
  const PipelineCosts costs = costs_of(plan, profile);
  EXPECT_EQ(costs.stages[0].boundary_forward, Bytes{4 * 68 + 20});  // 200 values are 4 blocks; the mask as it is
  EXPECT_EQ(costs.stages[0].boundary_backward, Bytes{4 * 68});
  EXPECT_EQ(costs.part_bytes({0, Pass::Backward}, 1), Bytes{2 * 68});
  const CodecTimes forward = costs.codec({0, Pass::Forward}, 0, 1, 0);
  EXPECT_DOUBLE_EQ(forward.encode.value, 0.5 + 0.82);  // by the bytes in float32
  EXPECT_DOUBLE_EQ(forward.decode.value, 0.25 + 0.82);
  plan.stages[0].wire = "bfloat16";
  EXPECT_EQ(costs_of(plan, profile).stages[0].boundary_forward, Bytes{400 + 20});
  EXPECT_EQ(costs_of(plan, profile).codec({0, Pass::Forward}, 0, 1, 0).encode, Seconds{});
}

TEST(CostsOf, ATransportThatAPlanNamesHasItsOwnTimes) {
  Profile profile = profile_of_two_sizes();
  for (const auto& [from, to] : {std::pair(0, 1), std::pair(1, 0)}) {
    profile.cluster.transports.push_back({from, to, "tcp", TransferCurve(Seconds{3.0}, BytesPerSecond{1e3})});
    profile.cluster.transports.push_back({from, to, "nccl", TransferCurve(Seconds{0.0}, BytesPerSecond{1e3})});
  }
  Plan plan = one_stage({{0, 0, 2}});
  plan.stages = {{0, 1, {{0, 0, 2}}, 2, false, "float32"}, {1, 3, {{1, 0, 2}}, 1, false, "float32"}};
  for (const auto& [transport, seconds] : {std::pair<std::string, double>{"auto", 0.5}, {"nccl", 0.5}, {"tcp", 3.5}}) {
    plan.stages[0].transport = transport;
    const PipelineCosts costs = costs_of(plan, profile);
    EXPECT_DOUBLE_EQ(costs.transfer(0, 1, Bytes{500}).value, seconds) << transport;
    EXPECT_DOUBLE_EQ(costs.transfer(1, 0, Bytes{500}).value, seconds) << transport;
    EXPECT_DOUBLE_EQ(costs.transfer(1, 2, Bytes{500}).value, 0.5);
  }
}

TEST(AllReduce, IsTheMeasuredTimeOfTheGroupElseThatOfARing) {
  Profile profile = profile_of_two_sizes();
  ClusterProfile& cluster = profile.cluster;
  EXPECT_EQ(all_reduce_time(cluster, {2}, Bytes{1000}), Seconds{});
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {0, 1, 2, 3}, Bytes{1000}).value, 6 * 0.25);
  cluster.links[1][2] = TransferCurve(Seconds{1.0}, BytesPerSecond{1e3});  // the slowest link of the ring sets the pace
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {3, 0, 1, 2}, Bytes{1000}).value, 6 * 1.25);
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {3, 2, 1, 0}, Bytes{1000}).value, 6 * 0.25);  // never from 1 to 2
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {0, 1}, Bytes{1000}).value, 2 * 0.5);
  // The NIC of host a carries one message of a step each way from 0 to 2, and two where the ring comes back twice.
  cluster.hosts = {{"a", "", BytesPerSecond{100.0}, {}}};
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {0, 2}, Bytes{1000}).value, 2 * 5.0);
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {0, 1}, Bytes{1000}).value, 2 * 0.5);
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {0, 2, 1, 3}, Bytes{1000}).value, 6 * 5.0);
  cluster.all_reduce = {{{0, 2}, TransferCurve(Seconds{0.125}, BytesPerSecond{1e4})}};
  EXPECT_DOUBLE_EQ(all_reduce_time(cluster, {2, 0}, Bytes{1000}).value, 0.225);
}

TEST(ScheduleOf, APlanWithEverythingRunsAndSums) {
  Profile profile = profile_of_two_sizes();
  profile.cluster.hosts = {{"a", "", BytesPerSecond{500.0}, BytesPerSecond{500.0}}};
  Plan plan;
  plan.micro_batch_size = 8;
  plan.micro_batches = 4;
  plan.stages = {{0, 1, {{0, 0, 3}, {2, 3, 8}}, 2, true, "int8"}, {1, 3, {{3, 0, 6}, {1, 6, 8}}, 1, false, "float32"}};
  const Schedule lowered = schedule_of(plan, 4, true);
  EXPECT_THAT(validate(lowered), testing::IsEmpty());
  EXPECT_THAT(to_csv(lowered), HasSubstr("0RECOMPUTE0,0B0"));
  EXPECT_THAT(to_csv(lowered), HasSubstr("0SEND_F0[3:6]@3,0SEND_F0[6:8]@1"));
  const PipelineCosts costs = costs_of(plan, profile);
  EXPECT_EQ(costs.host_of_rank, (std::vector<int>{0, 0, 1, 1}));
  EXPECT_GT(costs.of(1, 1).reduce.value, 0.0);
  const Simulation simulation = simulate(lowered, costs);
  PipelineCosts free = costs;
  free.on_rank[{0, 0}].reduce = free.on_rank[{0, 2}].reduce = Seconds{};
  free.on_rank[{1, 1}].reduce = free.on_rank[{1, 3}].reduce = Seconds{};
  EXPECT_GT(simulation.iteration, simulate(lowered, free).iteration);
}

}  // namespace
}  // namespace motley

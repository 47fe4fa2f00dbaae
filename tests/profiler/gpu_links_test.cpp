// Links between ranks with fake GPUs: which transport a profile finds faster, and what NCCL takes of their memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes/fakes.h"
#include "motley/plan/transports.h"
#include "motley/profiler/links.h"
#include "ranks.h"

namespace motley {
namespace {

using testing::Each;
using testing::IsEmpty;
using testing::SizeIs;

constexpr Bytes kMegabyte{1'048'576};

/// What `ranks` ranks measure, as rank 0 knows it; all have a GPU but for the ranks from `gpus` on.
MeasuredLinks measured(const std::string& script, int ranks, int gpus, const CommOptions& options) {
  fakes::control().play("devices=8;" + script);
  MeasuredLinks found;
  run_ranks(ranks, options, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    const NcclApi nccl = fakes::nccl();
    const CudaDevice cuda(fakes::cuda(), rank);
    const std::unique_ptr<ComputeDevice> device =
        rank < gpus ? cuda_device(cuda, {.cap = Bytes{1 << 30}}) : host_device();
    const LinkOptions links{
        .device = device.get(),
        .nccl = rank < gpus ? &nccl : nullptr,
        .host_transport = "tcp",
        .edge_ways =
            [gpus](int a, int b) {
              return a < gpus && b < gpus ? std::vector<std::string>{"host", "nccl"} : std::vector<std::string>{"host"};
            },
        .group_way = {}};
    MeasuredLinks own = measure_links(communicator, links, 3);
    if (rank == 0) found = std::move(own);
  });
  EXPECT_EQ(fakes::control().counts().communicators, 0);
  EXPECT_EQ(fakes::control().counts().device_blocks, 0);
  EXPECT_THAT(fakes::control().misuse(), IsEmpty());
  return found;
}

CommOptions slow_host_link() {
  CommOptions options = with_deadline(20);
  options.emulated_links = {{0, 1, BytesPerSecond{1e9}, Seconds{0.05}}, {1, 0, BytesPerSecond{1e9}, Seconds{0.05}}};
  return options;
}

TEST(GpuLinks, TheFasterTransportIsTheLinkAndBothAreKnown) {
  for (const auto& [script, options, faster, slower] : {std::tuple<std::string, CommOptions, std::string, std::string>{
                                                            "nccl.delay=0.05", with_deadline(20), "tcp", "nccl"},
                                                        {"", slow_host_link(), "nccl", "tcp"}}) {
    const MeasuredLinks found = measured(script, 2, 2, options);
    ASSERT_THAT(found.transports, SizeIs(4));
    EXPECT_EQ(faster_transport(found.transports, 0, 1), faster);
    ClusterProfile cluster;
    cluster.links = found.links;
    cluster.transports = found.transports;
    for (const auto& [from, to] : {std::pair(0, 1), std::pair(1, 0)}) {
      const TransferCurve& link = found.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
      EXPECT_EQ(link.time(kMegabyte), link_over(cluster, from, to, faster).time(kMegabyte));
      EXPECT_LT(link.time(kMegabyte), link_over(cluster, from, to, slower).time(kMegabyte));
      EXPECT_GE(link_over(cluster, from, to, slower).time(kMegabyte).value, 0.04);
    }
  }
}

TEST(GpuLinks, BetweenAGpuAndAHostThereIsNoChoice) {
  const MeasuredLinks found = measured("nccl.buffers=3e6", 3, 1, with_deadline(20));
  EXPECT_THAT(found.transports, IsEmpty());
  EXPECT_GT(found.links[0][2].time(kMegabyte).value, 0.0);
  EXPECT_GT(found.links[2][0].time(kMegabyte).value, 0.0);
  EXPECT_THAT(found.connections, Each(Bytes{0}));
}

TEST(GpuLinks, NcclsBuffersAreThoseOfEdgesToTwoNeighbours) {
  EXPECT_EQ(measured("nccl.buffers=3e6", 2, 2, with_deadline(20)).connections,
            (std::vector<Bytes>{Bytes{6'000'000}, Bytes{6'000'000}}));
  EXPECT_EQ(measured("nccl.buffers=3e6", 4, 4, with_deadline(30)).connections,
            std::vector<Bytes>(4, Bytes{12'000'000}));
  EXPECT_EQ(measured("device1:nccl.buffers=3e6", 3, 2, with_deadline(20)).connections,
            (std::vector<Bytes>{Bytes{0}, Bytes{6'000'000}, Bytes{0}}));
}

TEST(GpuLinks, GroupsOfGpusSumByTheirOwnWay) {
  fakes::control().play("devices=8;nccl.buffers=3e6");
  for (const std::string way : {"nccl", "host"}) {
    run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
      const NcclApi nccl = fakes::nccl();
      const CudaDevice cuda(fakes::cuda(), communicator.rank());
      const std::unique_ptr<ComputeDevice> device = cuda_device(cuda, {.cap = Bytes{1 << 30}});
      const LinkOptions links{.device = device.get(),
                              .nccl = &nccl,
                              .host_transport = "tcp",
                              .edge_ways = {},
                              .group_way = [&](const std::vector<int>&) { return std::string(way); }};
      const MeasuredGroups found = measure_groups(communicator, links, {{0, 1, 2}, {0, 2}}, 3);
      EXPECT_EQ(found.connections, std::vector<Bytes>(3, Bytes{way == "nccl" ? 3'000'000 : 0}));
      ASSERT_THAT(found.all_reduce, SizeIs(2));
      for (const AllReduce& group : found.all_reduce) EXPECT_GT(group.time.time(kMegabyte).value, 0.0);
    });
  }
  int sums = 0;
  for (const fakes::Operation& operation : fakes::control().operations()) {
    sums += operation.kind == fakes::Operation::Kind::AllReduce ? 1 : 0;
  }
  EXPECT_GT(sums, 0);
  EXPECT_EQ(fakes::control().counts().communicators, 0);
}

}  // namespace
}  // namespace motley

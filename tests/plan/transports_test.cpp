#include "motley/plan/transports.h"

#include <gtest/gtest.h>

namespace motley {
namespace {

TransferCurve curve(double seconds) {
  return TransferCurve({{Bytes{1000}, Seconds{seconds}}, {Bytes{100000}, Seconds{2.0 * seconds}}});
}

/// Three devices, with a choice between each two: NCCL is faster between 0 and 1 and between 0 and 2, TCP between 1
/// and 2.
ClusterProfile three_devices() {
  ClusterProfile cluster;
  cluster.links.assign(3, std::vector<TransferCurve>(3, curve(9.0)));
  const auto measured = [&](int a, int b, double nccl_s, double tcp_s) {
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
      cluster.transports.push_back({from, to, "tcp", curve(tcp_s)});
      cluster.transports.push_back({from, to, "nccl", curve(nccl_s)});
    }
  };
  measured(0, 1, 1.0, 2.0);
  measured(0, 2, 1.0, 3.0);
  measured(1, 2, 4.0, 3.0);
  return cluster;
}

Plan plan_of(const std::vector<std::vector<int>>& devices) {
  Plan plan;
  for (const std::vector<int>& stage : devices) {
    StagePlan& made = plan.stages.emplace_back();
    for (const int device : stage) made.replicas.push_back({device, 0, 1});
  }
  return plan;
}

std::vector<std::string> transports_of(Plan plan) {
  choose_transports(plan, three_devices());
  std::vector<std::string> names;
  for (const StagePlan& stage : plan.stages) names.push_back(stage.transport);
  return names;
}

TEST(Transports, TheFasterOneIsThatOfBothWaysTogether) {
  ClusterProfile cluster = three_devices();
  EXPECT_EQ(faster_transport(cluster.transports, 0, 1), "nccl");
  EXPECT_EQ(faster_transport(cluster.transports, 2, 1), "tcp");
  EXPECT_EQ(faster_transport(cluster.transports, 0, 7), "auto");
  // One way alone does not decide: the edge back has the same transport.
  cluster.transports[1].time = curve(2.5);  // NCCL from 0 to 1, where TCP takes 2
  EXPECT_EQ(faster_transport(cluster.transports, 0, 1), "nccl");
  EXPECT_EQ(faster_transport(cluster.transports, 1, 0), "nccl");
}

TEST(Transports, LinksAreThoseOfTheFasterOneAndAnotherCanBeAskedFor) {
  ClusterProfile cluster = three_devices();
  use_faster_links(cluster.links, cluster.transports);
  EXPECT_EQ(cluster.links[0][1].time(Bytes{1000}), Seconds{1.0});
  EXPECT_EQ(cluster.links[2][1].time(Bytes{1000}), Seconds{3.0});
  EXPECT_EQ(link_over(cluster, 0, 1, "auto").time(Bytes{1000}), Seconds{1.0});
  EXPECT_EQ(link_over(cluster, 0, 1, "tcp").time(Bytes{1000}), Seconds{2.0});
  EXPECT_EQ(link_over(cluster, 0, 1, "mpi").time(Bytes{1000}), Seconds{1.0});
}

TEST(Transports, APlanNamesTheFasterOneWhereAllPairsOfAnEdgeAgree) {
  EXPECT_EQ(transports_of(plan_of({{0}, {1}, {2}})), (std::vector<std::string>{"nccl", "tcp", "auto"}));
  EXPECT_EQ(transports_of(plan_of({{1, 2}, {0}})), (std::vector<std::string>{"nccl", "auto"}));
  EXPECT_EQ(transports_of(plan_of({{0, 2}, {1}})), (std::vector<std::string>{"auto", "auto"}));
}

}  // namespace
}  // namespace motley

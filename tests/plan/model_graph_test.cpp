#include "motley/plan/model_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"

namespace motley {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

/// 0 to 1 to 3 and 0 to 2 to 3, with 0's and 3's backward nodes.
ModelGraph diamond() {
  ModelGraph graph;
  graph.name = "diamond";
  for (int n = 0; n < 4; ++n) {
    graph.nodes.push_back(
        {"n" + std::to_string(n), n, false, Seconds{0.01}, Seconds{0.1}, Bytes{1}, Bytes{2}, Bytes{3}});
  }
  graph.nodes.push_back({"b3", 3, true, Seconds{0.02}, {}, {}, {}, {}});
  graph.nodes.push_back({"b0", 0, true, Seconds{0.02}, {}, {}, {}, {}});
  graph.edges = {{0, 1, Seconds{0.5}}, {0, 2, {}}, {1, 3, {}}, {2, 3, {}}, {3, 4, {}}, {4, 5, {}}};
  graph.devices = {2, Bytes{100}, 1};
  return graph;
}

std::string refusal(const json& value) {
  try {
    static_cast<void>(model_graph_from_json(value, "model.json"));
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal(const std::string& pointer, const json& value) {
  json graph = to_json(diamond());
  graph[json::json_pointer(pointer)] = value;
  return refusal(graph);
}

TEST(ModelGraph, SurvivesItsJson) {
  const json value = to_json(diamond());
  EXPECT_EQ(to_json(model_graph_from_json(value, "model.json")), value);
}

TEST(ModelGraph, PredecessorsAreThoseOfForwardNodes) {
  EXPECT_THAT(group_predecessors(diamond()),
              ElementsAre(ElementsAre(), ElementsAre(0), ElementsAre(0), ElementsAre(1, 2)));
}

TEST(ModelGraph, LinearOrderPutsGroupsBehindTheirPredecessors) {
  EXPECT_THAT(linear_order(diamond()), ElementsAre(0, 1, 2, 3));
  ModelGraph reversed = diamond();
  reversed.edges = {{3, 2, {}}, {2, 1, {}}, {1, 0, {}}};
  EXPECT_THAT(linear_order(reversed), ElementsAre(3, 2, 1, 0));
}

TEST(ModelGraph, IsOnePieceOverEdgesInEitherDirectionAndOverGroups) {
  ModelGraph graph = diamond();
  graph.edges = {{0, 1, {}}, {2, 1, {}}, {3, 2, {}}};  // b3 and b0 hang on 3 and 0 by their groups
  validate(graph, "model.json");
  graph.edges = {{0, 1, {}}, {3, 2, {}}};
  EXPECT_THAT(refusal(to_json(graph)), HasSubstr("edges: found nothing that joins n0 to n2"));
}

TEST(ModelGraph, RefusesWhatIsNoGraphNamingTheField) {
  EXPECT_THAT(refusal("/motley", "plan"), HasSubstr("motley: found \"plan\", expected \"model\""));
  EXPECT_THAT(refusal("/version", 2), HasSubstr("version: found 2, expected 1"));
  EXPECT_THAT(refusal("/colour", 2), HasSubstr("colour"));
  EXPECT_THAT(refusal("/nodes", json::array()), HasSubstr("nodes: found none, expected at least one"));
  EXPECT_THAT(refusal("/nodes/1/group", 17),
              HasSubstr("nodes[1].group: found 17, expected groups from 0 without a gap"));
  EXPECT_THAT(refusal("/nodes/1/group", 4), HasSubstr("no node is of group 1"));
  EXPECT_THAT(refusal("/nodes/1/compute_s", -0.5), HasSubstr("nodes[1].compute_s: found -0.5"));
  EXPECT_THAT(refusal("/nodes/1/parameter_bytes", -5), HasSubstr("nodes[1].parameter_bytes: found -5"));
  EXPECT_THAT(refusal("/nodes/1/parameter_bytes", std::int64_t{1} << 62),
              HasSubstr("nodes: found more than 70368744177664 bytes up to nodes[1]"));
  EXPECT_THAT(refusal("/nodes/1/compute_s", 1e12),
              HasSubstr("nodes[1].compute_s: found 1000000000000.0, expected at most 1e+09 s"));
  EXPECT_THAT(refusal("/edges/0/to", 40),
              HasSubstr("edges[0]: found 0 to 40, expected two different nodes from 0 to 5"));
  EXPECT_THAT(refusal("/edges/0/to", 0), HasSubstr("edges[0]: found 0 to 0"));
  EXPECT_THAT(refusal("/edges/0/to", 1e10), HasSubstr("edges[0].to"));
  EXPECT_THAT(refusal("/edges/6", json{{"from", 3}, {"to", 0}, {"transfer_s", 0}}),
              HasSubstr("found a cycle among n0, n1, n2, n3, expected a graph without one"));
  EXPECT_THAT(refusal("/devices/accelerators", 0), HasSubstr("devices: found 0 accelerators"));
}

TEST(ModelGraph, TakesTime) {
  ModelGraph graph = diamond();
  for (ModelGraph::Node& node : graph.nodes) node.compute = Seconds{0.0};
  EXPECT_THAT(refusal(to_json(graph)), HasSubstr("nodes: found 0 s for each of them, expected one that takes time"));
}

TEST(ModelGraph, RefusesTimesThatAreNoNumbers) {
  ModelGraph graph = diamond();
  graph.nodes[2].compute = Seconds{std::nan("")};
  EXPECT_THROW(validate(graph, "here"), InputError);
  graph = diamond();
  graph.edges[2].transfer = Seconds{INFINITY};
  EXPECT_THROW(validate(graph, "here"), InputError);
}

}  // namespace
}  // namespace motley

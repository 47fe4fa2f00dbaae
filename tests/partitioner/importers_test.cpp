// Graphs and plans that other planners published, with their known results (../shared/data, where it is).
#include "motley/partitioner/importers/importers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/partitioner/graph_bottleneck.h"
#include "motley/partitioner/importers/deepspeed_replay.h"
#include "motley/partitioner/importers/sailor.h"

namespace motley {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Imports : public testing::Test {
 protected:
  Imports() { std::filesystem::create_directories(folder_); }
  ~Imports() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path written(const std::string& name, const std::string& text) const {
    write_durably(folder_ / name, text);
    return folder_ / name;
  }

  /// What reading `text` complains of; without the folder.
  template <class F>
  std::string refusal(const std::string& text, const F& read) const {
    const std::filesystem::path file = written("input", text);
    try {
      static_cast<void>(read(file));
    } catch (const InputError& error) {
      const std::string said = error.what();
      return said.starts_with(folder_.string()) ? said.substr(folder_.string().size() + 1) : said;
    }
    return "accepted";
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("motley-imports-" + std::to_string(getpid()));
};

class PublishedResults : public Imports {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(data_)) {
      GTEST_SKIP() << "no third-party data at " << data_ << ": published planning results are not checked";
    }
  }
  std::filesystem::path data_ = std::filesystem::path(MOTLEY_SHARED_DATA) / "planning";
};

std::vector<int> replicas(const BottleneckPlan& plan) {
  std::vector<int> counts;
  for (const GraphStage& stage : plan.stages) {
    counts.push_back(stage.replicas);
  }
  return counts;
}

TEST_F(PublishedResults, PipeDreamsOwnPlansComeOutUnderItsOwnCost) {
  struct Known {
    const char* model;
    int machines;
    double whole_s;
    double bottleneck_s;
    std::vector<int> replicas;
  };
  for (const Known& known : std::vector<Known>{{"vgg16", 4, 0.672535, 0.205520896, {3, 1}},
                                               {"vgg16", 16, 0.672535, 0.0565298, {13, 2, 1}},
                                               {"resnet50", 4, 0.443419, 0.1628809, {2, 2}},
                                               {"alexnet", 4, 0.085321, 0.0342171, {3, 1}},
                                               {"gnmt", 4, 0.089416, 0.025868, {1, 1, 1, 1}}}) {
    SCOPED_TRACE(testing::Message() << known.model << " on " << known.machines);
    const ModelGraph graph = import_pipedream(data_ / "pipedream" / (std::string(known.model) + ".graph.txt"));
    double whole_s = 0.0;
    for (const ModelGraph::Node& node : graph.nodes) {
      whole_s += node.compute.value;
    }
    EXPECT_NEAR(whole_s, known.whole_s, 5e-7);
    const BottleneckOptions theirs{StageCost::PipeDream, known.machines, BytesPerSecond{1e9}};
    const BottleneckPlan plan = solve_bottleneck(graph, theirs);
    EXPECT_NEAR(plan.bottleneck.value, known.bottleneck_s, 5e-8);
    EXPECT_NEAR(bottleneck_of(plan.stages, graph, theirs).value, plan.bottleneck.value, 1e-12);
    EXPECT_EQ(replicas(plan), known.replicas);

    // With the two faults mended our optimum is no worse than their plan.
    const BottleneckOptions mended{StageCost::Replicated, known.machines, BytesPerSecond{1e9}};
    const BottleneckPlan ours = solve_bottleneck(graph, mended);
    EXPECT_LE(ours.bottleneck.value, bottleneck_of(plan.stages, graph, mended).value + 1e-12);
    EXPECT_NEAR(bottleneck_of(ours.stages, graph, mended).value, ours.bottleneck.value, 1e-12);
  }
}

TEST_F(PublishedResults, DnnPartitioningsOptimaComeOut) {
  struct Known {
    const char* graph;
    double graph_ms;
    double chain_ms;
  };
  for (const Known& known : {Known{"bert24_training", 41.7458, 41.7458}, Known{"resnet50_training", 78.6318, 78.6498},
                             Known{"resnet50_inference", 33.7747, 33.7747}}) {
    SCOPED_TRACE(known.graph);
    const ModelGraph graph = import_dnn_partitioning(data_ / "dnn-partitioning" / (std::string(known.graph) + ".json"));
    BottleneckOptions options{.cost = StageCost::Single};
    EXPECT_NEAR(solve_bottleneck(graph, options).bottleneck.value * 1e3, known.graph_ms, 5e-5);
    options.linearise = true;
    const BottleneckPlan chain = solve_bottleneck(graph, options);
    EXPECT_NEAR(chain.bottleneck.value * 1e3, known.chain_ms, 5e-5);
    EXPECT_NEAR(bottleneck_of(chain.stages, graph, options).value, chain.bottleneck.value, 1e-12);
  }
}

TEST_F(PublishedResults, ImportedGraphsSurviveTheirFile) {
  for (const ModelGraph& graph : {import_pipedream(data_ / "pipedream" / "gnmt.graph.txt"),
                                  import_dnn_partitioning(data_ / "dnn-partitioning" / "bert24_training.json")}) {
    write_model_graph(folder_ / "model.json", graph);
    EXPECT_EQ(to_json(read_model_graph(folder_ / "model.json")), to_json(graph));
  }
}

TEST_F(PublishedResults, SailorsMeasuredPlansArePredicted) {
  std::vector<double> errors;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data_ / "sailor" / "validation")) {
    if (entry.path().extension() != ".json") {
      continue;
    }
    const SailorPlan plan = read_sailor_plan(entry.path());
    const SailorModel model(data_ / "sailor", plan.stages.back().end_layer, "");
    ASSERT_TRUE(plan.measured);
    errors.push_back(std::abs(model.predict(plan, {}).iteration / *plan.measured - 1.0));
    EXPECT_LT(errors.back(), 0.20) << entry.path();
    const std::vector<SailorPlan> others = measured_sailor_plans(data_ / "sailor", plan);
    EXPECT_EQ(others.size(), 8U);
    EXPECT_LT(std::abs(model.predict(plan, model.fit(others)).iteration / *plan.measured - 1.0), 0.20) << entry.path();
  }
  ASSERT_EQ(errors.size(), 9U);
  std::sort(errors.begin(), errors.end());
  EXPECT_LT(errors[4], 0.08);
  EXPECT_LE(SailorConstants{}.reasons().size(), 4U);
}

TEST_F(PublishedResults, SailorsConstantsAreTheFitToAllMeasuredPlans) {
  const std::filesystem::path file =
      data_ / "sailor" / "validation" / "clariden" / "OPT-350" / "N4" / "plan_config_N4_D1.json";
  const SailorPlan plan = read_sailor_plan(file);
  const SailorModel model(data_ / "sailor", plan.stages.back().end_layer, "OPT-350");
  std::vector<SailorPlan> all = measured_sailor_plans(data_ / "sailor", plan);
  all.push_back(plan);
  const SailorConstants fitted = model.fit(all);
  EXPECT_NEAR(fitted.timer.value, SailorConstants{}.timer.value, 1e-9);
  EXPECT_NEAR(fitted.iteration.value, SailorConstants{}.iteration.value, 0.005);
}

TEST(DeepSpeedReplay, WithFreeMessagesIsTheTextbook1F1B) {
  for (int stages = 1; stages <= 5; ++stages) {
    for (int micro_batches = 1; micro_batches <= 9; ++micro_batches) {
      const std::vector<StagePasses> passes(static_cast<std::size_t>(stages), {Seconds{1.0}, Seconds{2.0}});
      const std::vector<Seconds> messages(static_cast<std::size_t>(stages - 1));
      EXPECT_DOUBLE_EQ(deepspeed_iteration(passes, messages, micro_batches).value, (micro_batches + stages - 1) * 3.0);
    }
  }
}

/// 1F1B with messages that take no time and block nobody: passes wait for their predecessors only.
double textbook(const std::vector<StagePasses>& stages, int micro_batches) {
  const auto count = static_cast<int>(stages.size());
  const auto width = static_cast<std::size_t>(micro_batches);
  std::vector<std::vector<double>> forward(stages.size(), std::vector<double>(width, -1.0));
  std::vector<std::vector<double>> backward = forward;
  std::vector<double> free(stages.size(), 0.0);
  std::vector<int> forwards(stages.size(), 0);
  std::vector<int> backwards(stages.size(), 0);
  for (int done = 0; done < 2 * count * micro_batches;) {
    for (int stage = 0; stage < count; ++stage) {
      const auto s = static_cast<std::size_t>(stage);
      const bool warm = forwards[s] < micro_batches && forwards[s] - backwards[s] < count - stage;
      if (backwards[s] == micro_batches) {
        continue;
      }
      const auto j = static_cast<std::size_t>(warm ? forwards[s] : backwards[s]);
      double ready = 0.0;
      if (warm ? stage > 0 : stage + 1 < count) {
        ready = warm ? forward[s - 1][j] : backward[s + 1][j];
      }
      if (ready < 0.0) {
        continue;
      }
      free[s] = std::max(free[s], ready) + (warm ? stages[s].forward : stages[s].backward).value;
      (warm ? forward : backward)[s][j] = free[s];
      ++(warm ? forwards : backwards)[s];
      ++done;
    }
  }
  return *std::max_element(free.begin(), free.end());
}

TEST(DeepSpeedReplay, WithFreeMessagesUnevenStagesAreNeverSoonerThanTheTextbook) {
  std::mt19937 random(3);
  std::uniform_real_distribution<> seconds(0.1, 2.0);
  for (int round = 0; round < 200; ++round) {
    std::vector<StagePasses> passes(std::uniform_int_distribution<std::size_t>(1, 5)(random));
    for (StagePasses& stage : passes) {
      stage = {Seconds{seconds(random)}, Seconds{seconds(random)}};
    }
    const int micro_batches = std::uniform_int_distribution<>(1, 9)(random);
    const double time = deepspeed_iteration(passes, std::vector<Seconds>(passes.size() - 1), micro_batches).value;
    // Never sooner; later where a message waits for its turn.
    EXPECT_GE(time, textbook(passes, micro_batches) - 1e-9) << round;
    EXPECT_LE(time, textbook(passes, micro_batches) * 1.25) << round;
  }
}

TEST(DeepSpeedReplay, TwoStagesOneMicroBatchAddUp) {
  const std::vector<StagePasses> passes{{Seconds{1.0}, Seconds{2.0}}, {Seconds{3.0}, Seconds{4.0}}};
  const std::vector<Seconds> messages{Seconds{0.5}};
  EXPECT_DOUBLE_EQ(deepspeed_iteration(passes, messages, 1).value, 1.0 + 0.5 + 3.0 + 4.0 + 0.5 + 2.0);
}

TEST(DeepSpeedReplay, TheDirectionsOfABoundaryTakeTurns) {
  // The link is all: four micro-batches are eight messages one after the other, and the passes at both ends.
  const std::vector<StagePasses> passes{{Seconds{1e-6}, Seconds{1e-6}}, {Seconds{1e-6}, Seconds{1e-6}}};
  const std::vector<Seconds> messages{Seconds{1.0}};
  EXPECT_NEAR(deepspeed_iteration(passes, messages, 4).value, 8.0, 1e-4);
}

const std::string kPipeDream =
    "node1 -- Input0 -- forward_compute_time=5.0, backward_compute_time=0.0, activation_size=8.0, parameter_size=0.0\n"
    "node2 -- Linear -- forward_compute_time=1.5, backward_compute_time=2.5, activation_size=[4.0; 6.0], "
    "parameter_size=16.0\n"
    "node3 -- Loss -- forward_compute_time=1.0, backward_compute_time=1.0, activation_size=4.0, parameter_size=0.0\n"
    "\tnode1 -- node2\n\tnode2 -- node3\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST_F(Imports, PipeDreamsTextBecomesAGraphWithoutItsInputs) {
  const ModelGraph graph = import_pipedream(written("small.graph.txt", kPipeDream));
  ASSERT_EQ(graph.nodes.size(), 2U);
  EXPECT_EQ(graph.nodes[0].name, "node2 Linear");
  EXPECT_DOUBLE_EQ(graph.nodes[0].compute.value, 0.004);
  EXPECT_EQ(graph.nodes[0].output, Bytes{10});
  EXPECT_EQ(graph.nodes[0].parameters, Bytes{16});
  ASSERT_EQ(graph.edges.size(), 1U);
  EXPECT_EQ(graph.edges[0].from, 0);
  EXPECT_EQ(graph.edges[0].to, 1);
}

TEST_F(Imports, PipeDreamsBrokenTextIsRefusedByLine) {
  const auto refused = [&](const std::string& from, const std::string& to) {
    return refusal(replaced(kPipeDream, from, to), import_pipedream);
  };
  EXPECT_THAT(refused("\tnode2 -- node3", "\tnode2 -- node9"),
              AllOf(HasSubstr("input: line 5"), HasSubstr("found \"node9\", expected a node that stands above")));
  EXPECT_THAT(refused("\tnode2 -- node3", "\tnode2 - node3"), HasSubstr("line 5: found \"node2 - node3\""));
  EXPECT_THAT(refused("\tnode2 -- node3", "\tnode2 -- node3\n\tnode3 -- node2"), HasSubstr("found a cycle among"));
  EXPECT_THAT(refused("\tnode2 -- node3", "\tnode2 -- node2"), HasSubstr("expected two different nodes"));
  EXPECT_THAT(refused("node3 -- Loss", "node2 -- Loss"), HasSubstr("line 3: found \"node2\", expected each node once"));
  EXPECT_THAT(refused("backward_compute_time=2.5", "backward_compute_time=-2.5"),
              HasSubstr("line 2: found \"backward_compute_time=-2.5\", expected a number that is finite and not neg"));
  EXPECT_THAT(refused("=2.5", "=nan"), HasSubstr("expected a number that is finite"));
  EXPECT_THAT(refused("=2.5", "=inf"), HasSubstr("expected a number that is finite"));
  EXPECT_THAT(refused("=2.5", "=1e400"), HasSubstr("expected a number that is finite"));
  EXPECT_THAT(refused("[4.0; 6.0]", "[4.0; "), HasSubstr("line 2"));
  EXPECT_THAT(refused(", parameter_size=16.0", ""), HasSubstr("line 2: found"));
  EXPECT_THAT(refusal("", import_pipedream), HasSubstr("nodes: found none, expected at least one"));
  EXPECT_THAT(refusal("{\"json\": 1}", import_pipedream), HasSubstr("line 1: found \"{\"json\": 1}\""));
}

TEST_F(Imports, WhatIsNotThereIsNamed) {
  const auto said = [](const std::function<void()>& read) {
    try {
      read();
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(said([&] { static_cast<void>(import_pipedream(folder_ / "none")); }),
              HasSubstr("none: cannot be read (No such file or directory), expected a PipeDream graph.txt"));
  EXPECT_THAT(said([&] { static_cast<void>(import_dnn_partitioning(folder_)); }),
              HasSubstr("cannot be read (Is a directory), expected a dnn-partitioning layer graph"));
  EXPECT_THAT(said([&] { static_cast<void>(read_sailor_plan(folder_ / "none")); }), HasSubstr("none: cannot be read"));
  EXPECT_THAT(said([&] { static_cast<void>(SailorModel(folder_, 26, "")); }),
              HasSubstr("profiles_tmp.json: cannot be read"));
}

json small_layer_graph() {
  const auto node = [](int id, bool backward, int colour) {
    return json{
        {"id", id},           {"name", "n" + std::to_string(id)},   {"supportedOnFpga", 1}, {"cpuLatency", 9.0},
        {"fpgaLatency", 2.0}, {"isBackwardNode", backward ? 1 : 0}, {"size", 64.0},         {"colorClass", colour}};
  };
  return {{"maxFPGAs", 2},
          {"maxSizePerFPGA", 1000.0},
          {"maxCPUs", 1},
          {"nodes", {node(10, false, 7), node(11, false, 8), node(12, true, 8), node(13, true, 7)}},
          {"edges",
           {{{"sourceId", 10}, {"destId", 11}, {"cost", 0.5}},
            {{"sourceId", 11}, {"destId", 12}, {"cost", 0.5}},
            {{"sourceId", 12}, {"destId", 13}, {"cost", 0.5}}}}};
}

TEST_F(Imports, NodesOfAColourBecomeAGroup) {
  const ModelGraph graph = import_dnn_partitioning(written("graph.json", small_layer_graph().dump()));
  EXPECT_EQ(graph.group_count(), 2);
  EXPECT_EQ(graph.nodes[0].group, graph.nodes[3].group);
  EXPECT_TRUE(graph.nodes[3].backward);
  EXPECT_DOUBLE_EQ(graph.nodes[0].host_compute.value, 0.009);
  EXPECT_EQ(graph.devices->accelerators, 2);
}

TEST_F(Imports, DnnPartitioningsBrokenJsonIsRefusedByField) {
  const auto refused = [&](const std::string& pointer, const json& value) {
    json graph = small_layer_graph();
    graph[json::json_pointer(pointer)] = value;
    return refusal(graph.dump(), import_dnn_partitioning);
  };
  EXPECT_THAT(refused("/nodes/1/id", 10), HasSubstr("nodes[1].id: found 10, expected an id of its own"));
  EXPECT_THAT(refused("/nodes/1/fpgaLatency", -1), HasSubstr("nodes[1].fpgaLatency: found -1"));
  EXPECT_THAT(refused("/nodes/1/fpgaLatency", "fast"), HasSubstr("nodes[1].fpgaLatency: found \"fast\""));
  EXPECT_THAT(refused("/nodes/1/size", 1e30), HasSubstr("nodes[1].size: found 1e+30"));
  EXPECT_THAT(refused("/edges/0/destId", 99), HasSubstr("edges[0].destId: found 99, expected the id of a node"));
  EXPECT_THAT(refused("/edges/0/destId", 10), HasSubstr("expected two different nodes"));
  EXPECT_THAT(refused("/nodes", json::array()), HasSubstr("nodes: found array, expected at least one node"));
  EXPECT_THAT(refused("/maxFPGAs", 0), HasSubstr("found 0 accelerators"));
  EXPECT_THAT(refused("/maxFPGAs", 1e12), HasSubstr("maxFPGAs: found 1000000000000.0, expected a count"));
  EXPECT_THAT(refused("/edges/3", json{{"sourceId", 11}, {"destId", 10}, {"cost", 0.5}}), HasSubstr("found a cycle"));
  const std::string whole = small_layer_graph().dump();
  for (std::size_t length = 0; length < whole.size(); length += 7) {
    EXPECT_NE(refusal(whole.substr(0, length), import_dnn_partitioning), "accepted") << length;
  }
}

json small_plan() {
  return json::parse(R"({"pipeline_list": [{"num_stages": 2, "layers_per_stage": [[0, 1], [2]],
    "tmp_per_stage": [[[[["A", 1, "z"]], 1], [[["A", 1, "z"]], 1]], [[[["B", 1, "z"]], 1], [[["B", 1, "z"]], 1]]]}],
    "mbs": 2, "gbs": 16, "real": 1.5, "max_mem": 1000})");
}

TEST_F(Imports, ASailorPlanIsRead) {
  const SailorPlan plan = read_sailor_plan(written("plan.json", small_plan().dump()));
  ASSERT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(plan.stages[0].end_layer, 2);
  EXPECT_THAT(plan.stages[1].replicas, ElementsAre(SailorReplica{"B", "z", 1}, SailorReplica{"B", "z", 1}));
  EXPECT_EQ(plan.micro_batches, 4);
  EXPECT_EQ(plan.measured->value, 1.5);
}

TEST_F(Imports, ABrokenSailorPlanIsRefusedByField) {
  const auto refused = [&](const std::string& pointer, const json& value) {
    json plan = small_plan();
    plan[json::json_pointer(pointer)] = value;
    return refusal(plan.dump(), read_sailor_plan);
  };
  EXPECT_THAT(refused("/gbs", 18),
              HasSubstr("gbs: found 18, expected a multiple of micro-batch size times replicas, 4"));
  EXPECT_THAT(refused("/gbs", 0), HasSubstr("gbs: found 0"));
  EXPECT_THAT(refused("/real", 0.0), HasSubstr("real: found 0.0, expected a positive time"));
  EXPECT_THAT(refused("/real", -2), HasSubstr("real: found -2"));
  EXPECT_THAT(refused("/pipeline_list/0/layers_per_stage", json{{0, 1}, {3}}), HasSubstr("expected layer 2"));
  EXPECT_THAT(refused("/pipeline_list/0/layers_per_stage", json{{0, 1}}), HasSubstr("layers_per_stage"));
  EXPECT_THAT(refused("/pipeline_list/0/tmp_per_stage/1", json::parse(R"([[[["B", 1, "z"]], 1]])")),
              HasSubstr("expected as many replicas as the first stage has"));
  EXPECT_THAT(refused("/pipeline_list", json::array()), HasSubstr("pipeline_list: found"));
}

}  // namespace
}  // namespace motley

#include "motley/launcher/plan_model.h"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/partitioner/graph_bottleneck.h"

namespace motley {

int plan_model(const ModelQuestion& question) {
  if (question.objective != "bottleneck") {
    throw InputError::of("motley plan --model: --objective: found \"{}\", expected \"bottleneck\"", question.objective);
  }
  if (question.devices_from_model == (question.devices > 0)) {
    throw InputError::of("motley plan --model: found {} of --devices and --devices-from-model, expected one",
                         question.devices_from_model ? "both" : "none");
  }
  const ModelGraph graph = read_model_graph(question.model_file);
  BottleneckOptions options;
  options.cost = question.devices_from_model ? StageCost::Single
                 : question.pipedream_cost   ? StageCost::PipeDream
                                             : StageCost::Replicated;
  options.devices = question.devices;
  options.bandwidth = BytesPerSecond{question.bandwidth};
  options.linearise = question.linearise;
  const BottleneckPlan plan = solve_bottleneck(graph, options);
  nlohmann::json stages = nlohmann::json::array();
  std::size_t begin = 0;
  for (const GraphStage& stage : plan.stages) {
    nlohmann::json names = nlohmann::json::array();
    for (const int group : stage.groups) {
      for (const ModelGraph::Node& node : graph.nodes) {
        if (node.group == group && !node.backward) {
          names.push_back(node.name);
        }
      }
    }
    stages.push_back({{"layers", {begin, begin + stage.groups.size()}},
                      {"replicas", stage.replicas},
                      {"on_host", stage.on_host},
                      {"nodes", std::move(names)}});
    begin += stage.groups.size();
  }
  if (question.json) {
    std::cout << nlohmann::json{{"bottleneck_s", plan.bottleneck.value},
                                {"lower_bound_s", plan.lower_bound.value},
                                {"gap", plan.bottleneck / plan.lower_bound - 1.0},
                                {"solve_s", plan.solve.value},
                                {"cuts", plan.cuts},
                                {"stages", std::move(stages)}}
              << '\n';
    return 0;
  }
  std::cout << fmt::format("{}: slowest stage {:.4f} ms, optimal over {} cuts{}\n", graph.name,
                           plan.bottleneck.value * 1e3, plan.cuts, question.linearise ? " of its linear order" : "");
  for (const nlohmann::json& stage : stages) {
    std::cout << fmt::format(
        "  layers [{}, {}) on {}\n", stage["layers"][0].get<int>(), stage["layers"][1].get<int>(),
        stage["on_host"].get<bool>() ? "a host" : fmt::format("{} device(s)", stage["replicas"].get<int>()));
  }
  return 0;
}

}  // namespace motley

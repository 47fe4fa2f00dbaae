#include <map>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/partitioner/importers/importers.h"
#include "motley/plan/json_field.h"

namespace motley {
namespace {

constexpr double kSecondsPerMillisecond = 1e-3;

Seconds milliseconds(const JsonField& field) {
  const double value = field.number();
  if (value < 0.0) {
    field.fail("milliseconds, not negative");
  }
  return Seconds{value * kSecondsPerMillisecond};
}

/// Sizes are written as floating-point numbers there.
Bytes bytes(const JsonField& field) {
  const double value = field.number();
  if (value < 0.0 || value > 1e18) {
    field.fail("bytes, not negative");
  }
  return Bytes{static_cast<std::int64_t>(value)};
}

int count(const JsonField& field) {
  const double value = field.number();
  if (value < 0.0 || value > 1e6) {
    field.fail("a count");
  }
  return static_cast<int>(value);
}

}  // namespace

ModelGraph import_dnn_partitioning(const std::filesystem::path& file) {
  const std::string text = read_text(file, "a dnn-partitioning layer graph");
  const nlohmann::json value = parse_json(text, file.string());
  const JsonField root(value, file.string(), "");
  if (root.at("nodes").items().empty()) {
    root.at("nodes").fail("at least one node");
  }
  ModelGraph graph;
  graph.name = file.filename().string();
  std::map<std::int64_t, int> group_of_colour;
  std::map<std::int64_t, int> number_of_id;
  for (const JsonField& item : root.at("nodes").items()) {
    const std::int64_t colour = item.at("colorClass").integer();
    const int group = group_of_colour.emplace(colour, static_cast<int>(group_of_colour.size())).first->second;
    if (!number_of_id.emplace(item.at("id").integer(), static_cast<int>(graph.nodes.size())).second) {
      item.at("id").fail("an id of its own for each node");
    }
    if (item.at("supportedOnFpga").number() == 0.0) {
      item.at("supportedOnFpga").fail("1: nodes for hosts only cannot be planned");
    }
    graph.nodes.push_back({item.at("name").text(),
                           group,
                           item.at("isBackwardNode").number() != 0.0,
                           milliseconds(item.at("fpgaLatency")),
                           milliseconds(item.at("cpuLatency")),
                           bytes(item.at("size")),
                           {},
                           {}});
  }
  for (const JsonField& item : root.at("edges").items()) {
    ModelGraph::Edge edge;
    for (const auto& [key, end] : {std::pair("sourceId", &edge.from), std::pair("destId", &edge.to)}) {
      const auto found = number_of_id.find(item.at(key).integer());
      if (found == number_of_id.end()) {
        item.at(key).fail("the id of a node");
      }
      *end = found->second;
    }
    edge.transfer = milliseconds(item.at("cost"));
    graph.edges.push_back(edge);
  }
  graph.devices = {count(root.at("maxFPGAs")), bytes(root.at("maxSizePerFPGA")), count(root.at("maxCPUs"))};
  validate(graph, file.string());
  return graph;
}

}  // namespace motley

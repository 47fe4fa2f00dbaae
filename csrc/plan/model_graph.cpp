#include "motley/plan/model_graph.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/plan/json_field.h"
#include "motley/plan/limits.h"

namespace motley {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

/// That every group is reached from the first node's over edges, in either direction.
void check_connected(const ModelGraph& graph, const std::string& source) {
  const auto group_of = [&](int node) { return graph.nodes[static_cast<std::size_t>(node)].group; };
  std::vector<std::vector<int>> near(static_cast<std::size_t>(graph.group_count()));
  for (const ModelGraph::Edge& edge : graph.edges) {
    near[static_cast<std::size_t>(group_of(edge.from))].push_back(group_of(edge.to));
    near[static_cast<std::size_t>(group_of(edge.to))].push_back(group_of(edge.from));
  }
  std::vector<bool> reached(near.size(), false);
  std::vector<int> open{group_of(0)};
  while (!open.empty()) {
    const auto group = static_cast<std::size_t>(open.back());
    open.pop_back();
    if (!reached[group]) {
      reached[group] = true;
      open.insert(open.end(), near[group].begin(), near[group].end());
    }
  }
  for (const ModelGraph::Node& node : graph.nodes) {
    if (!reached[static_cast<std::size_t>(node.group)]) {
      throw InputError::of("{}: edges: found nothing that joins {} to {}, expected a graph of one piece", source,
                           graph.nodes[0].name, node.name);
    }
  }
}

}  // namespace

int ModelGraph::group_count() const {
  int count = 0;
  for (const Node& node : nodes) {
    count = std::max(count, node.group + 1);
  }
  return count;
}

std::vector<std::vector<int>> group_predecessors(const ModelGraph& graph) {
  std::vector<std::vector<int>> before(static_cast<std::size_t>(graph.group_count()));
  for (const ModelGraph::Edge& edge : graph.edges) {
    const ModelGraph::Node& from = graph.nodes[static_cast<std::size_t>(edge.from)];
    const ModelGraph::Node& to = graph.nodes[static_cast<std::size_t>(edge.to)];
    if (!from.backward && !to.backward && from.group != to.group) {
      before[static_cast<std::size_t>(to.group)].push_back(from.group);
    }
  }
  for (std::vector<int>& groups : before) {
    std::sort(groups.begin(), groups.end());
    groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  }
  return before;
}

std::vector<int> linear_order(const ModelGraph& graph) {
  const std::vector<std::vector<int>> before = group_predecessors(graph);
  std::vector<int> order;
  std::vector<bool> placed(before.size(), false);
  std::vector<std::pair<int, std::size_t>> path;  // group, next of its predecessors
  const auto visit = [&](int root) {
    path.emplace_back(root, 0);
    while (!path.empty()) {
      auto& [group, next] = path.back();
      const std::vector<int>& from = before[static_cast<std::size_t>(group)];
      if (placed[static_cast<std::size_t>(group)]) {
        path.pop_back();
      } else if (next < from.size()) {
        const int predecessor = from[next++];
        path.emplace_back(predecessor, 0);
      } else {
        placed[static_cast<std::size_t>(group)] = true;
        order.push_back(group);
        path.pop_back();
      }
    }
  };
  for (int group = static_cast<int>(before.size()) - 1; group >= 0; --group) {
    visit(group);
  }
  return order;
}

void validate(const ModelGraph& graph, const std::string& source) {
  if (graph.nodes.empty()) {
    throw InputError::of("{}: nodes: found none, expected at least one", source);
  }
  const int groups = graph.group_count();
  std::vector<bool> used(static_cast<std::size_t>(std::max(groups, 0)), false);
  ByteSum sum(source, "nodes");
  bool takes_time = false;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const ModelGraph::Node& node = graph.nodes[i];
    const std::string where = fmt::format("{}: nodes[{}]", source, i);
    if (node.group < 0 || node.group >= static_cast<int>(graph.nodes.size())) {
      throw InputError::of("{}.group: found {}, expected groups from 0 without a gap", where, node.group);
    }
    used[static_cast<std::size_t>(node.group)] = true;
    check_time(node.compute, where + ".compute_s");
    check_time(node.host_compute, where + ".host_compute_s");
    for (const Bytes bytes : {node.memory, node.parameters, node.output}) {
      sum.add(bytes, fmt::format("nodes[{}]", i));
    }
    takes_time = takes_time || node.compute.value > 0.0;
  }
  if (!takes_time) {
    throw InputError::of("{}: nodes: found 0 s for each of them, expected one that takes time", source);
  }
  for (int group = 0; group < groups; ++group) {
    if (!used[static_cast<std::size_t>(group)]) {
      throw InputError::of("{}: no node is of group {}, expected groups from 0 to {} without a gap", source, group,
                           groups - 1);
    }
  }
  for (std::size_t i = 0; i < graph.edges.size(); ++i) {
    const ModelGraph::Edge& edge = graph.edges[i];
    const std::string where = fmt::format("{}: edges[{}]", source, i);
    const auto size = static_cast<int>(graph.nodes.size());
    if (edge.from < 0 || edge.from >= size || edge.to < 0 || edge.to >= size || edge.from == edge.to) {
      throw InputError::of("{}: found {} to {}, expected two different nodes from 0 to {}", where, edge.from, edge.to,
                           size - 1);
    }
    check_time(edge.transfer, where + ".transfer_s");
  }
  check_connected(graph, source);
  if (graph.devices &&
      (graph.devices->accelerators < 1 || graph.devices->hosts < 0 || graph.devices->memory.value < 0)) {
    throw InputError::of(
        "{}: devices: found {} accelerators of {} bytes and {} hosts, expected at least one accelerator", source,
        graph.devices->accelerators, graph.devices->memory.value, graph.devices->hosts);
  }
  // Kahn (1962): what is left when no group without open predecessors remains is on or behind a cycle.
  const std::vector<std::vector<int>> before = group_predecessors(graph);
  std::vector<std::vector<int>> after(before.size());
  std::vector<std::size_t> open(before.size());
  std::vector<int> ready;
  for (std::size_t group = 0; group < before.size(); ++group) {
    open[group] = before[group].size();
    for (const int predecessor : before[group]) {
      after[static_cast<std::size_t>(predecessor)].push_back(static_cast<int>(group));
    }
    if (open[group] == 0) {
      ready.push_back(static_cast<int>(group));
    }
  }
  std::size_t done = 0;
  while (!ready.empty()) {
    const int group = ready.back();
    ready.pop_back();
    ++done;
    for (const int next : after[static_cast<std::size_t>(group)]) {
      if (--open[static_cast<std::size_t>(next)] == 0) {
        ready.push_back(next);
      }
    }
  }
  if (done < before.size()) {
    std::string names;
    for (const ModelGraph::Node& node : graph.nodes) {
      if (!node.backward && open[static_cast<std::size_t>(node.group)] > 0 && names.size() < 120) {
        names += (names.empty() ? "" : ", ") + node.name;
      }
    }
    throw InputError::of("{}: edges: found a cycle among {}, expected a graph without one", source, names);
  }
}

json to_json(const ModelGraph& graph) {
  json nodes = json::array();
  for (const ModelGraph::Node& node : graph.nodes) {
    nodes.push_back({{"name", node.name},
                     {"group", node.group},
                     {"backward", node.backward},
                     {"compute_s", node.compute.value},
                     {"host_compute_s", node.host_compute.value},
                     {"memory_bytes", node.memory.value},
                     {"parameter_bytes", node.parameters.value},
                     {"output_bytes", node.output.value}});
  }
  json edges = json::array();
  for (const ModelGraph::Edge& edge : graph.edges) {
    edges.push_back({{"from", edge.from}, {"to", edge.to}, {"transfer_s", edge.transfer.value}});
  }
  json result = {{"motley", "model"},
                 {"version", kVersion},
                 {"name", graph.name},
                 {"nodes", std::move(nodes)},
                 {"edges", std::move(edges)}};
  if (graph.devices) {
    result["devices"] = {{"accelerators", graph.devices->accelerators},
                         {"memory_bytes", graph.devices->memory.value},
                         {"hosts", graph.devices->hosts}};
  }
  return result;
}

ModelGraph model_graph_from_json(const json& value, const std::string& source) {
  const JsonField root(value, source, "");
  root.allow_only({"motley", "version", "name", "nodes", "edges", "devices"});
  if (root.at("motley").text() != "model") {
    throw InputError::of("{}: motley: found \"{}\", expected \"model\"", source, root.at("motley").text());
  }
  if (root.at("version").integer() != kVersion) {
    throw InputError::of("{}: version: found {}, expected {}", source, root.at("version").integer(), kVersion);
  }
  const auto index = [](const JsonField& field) {
    const std::int64_t number = field.integer();
    if (number < 0 || number > 1'000'000'000) {
      field.fail("a number from 0");
    }
    return static_cast<int>(number);
  };
  ModelGraph graph;
  graph.name = root.at("name").text();
  for (const JsonField& item : root.at("nodes").items()) {
    item.allow_only({"name", "group", "backward", "compute_s", "host_compute_s", "memory_bytes", "parameter_bytes",
                     "output_bytes"});
    graph.nodes.push_back({item.at("name").text(), index(item.at("group")), item.at("backward").boolean(),
                           item.at("compute_s").seconds(), item.at("host_compute_s").seconds(),
                           item.at("memory_bytes").bytes(), item.at("parameter_bytes").bytes(),
                           item.at("output_bytes").bytes()});
  }
  for (const JsonField& item : root.at("edges").items()) {
    item.allow_only({"from", "to", "transfer_s"});
    graph.edges.push_back({index(item.at("from")), index(item.at("to")), item.at("transfer_s").seconds()});
  }
  if (root.has("devices")) {
    const JsonField devices = root.at("devices");
    devices.allow_only({"accelerators", "memory_bytes", "hosts"});
    graph.devices = {index(devices.at("accelerators")), devices.at("memory_bytes").bytes(), index(devices.at("hosts"))};
  }
  validate(graph, source);
  return graph;
}

ModelGraph read_model_graph(const std::filesystem::path& file) {
  const std::string text = read_text(file, "a model graph (motley import makes one)");
  return model_graph_from_json(parse_json(text, file.string()), file.string());
}

void write_model_graph(const std::filesystem::path& file, const ModelGraph& graph) {
  write_durably(file, to_json(graph).dump(1) + "\n");
}

}  // namespace motley

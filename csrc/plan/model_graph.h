#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "motley/base/units.h"

namespace motley {

/// A model as a graph of operators, as other tools profile them. The file model.json.
struct ModelGraph {
  struct Node {
    std::string name;
    int group = 0;          ///< nodes of a group go to the same stage: an operator and its backward
    bool backward = false;  ///< of the backward pass; these do not decide which cuts are contiguous
    Seconds compute;        ///< on an accelerator, one minibatch
    Seconds host_compute;   ///< on a host; 0: not known
    Bytes memory;           ///< what a device that has the node must hold
    Bytes parameters;       ///< what replicas of the node sum
    Bytes output;           ///< what the next stage gets of it
  };
  struct Edge {
    int from = 0;
    int to = 0;
    Seconds transfer;  ///< between devices, where the profile says so; else it follows from the output's bytes
  };
  /// What the profile was made for, where it says so.
  struct Devices {
    int accelerators = 0;
    Bytes memory;  ///< of an accelerator
    int hosts = 0;
  };

  std::string name;
  std::vector<Node> nodes;
  std::vector<Edge> edges;
  std::optional<Devices> devices;

  [[nodiscard]] int group_count() const;
};

/// Throws InputError naming `source` and the field: an edge to a node that is not there or to itself, a negative or
/// infinite time, groups that are not 0, 1, ..., no nodes, a cycle (named) among the groups' forward nodes.
void validate(const ModelGraph& graph, const std::string& source);

/// Throws InputError naming file and field.
[[nodiscard]] ModelGraph read_model_graph(const std::filesystem::path& file);
void write_model_graph(const std::filesystem::path& file, const ModelGraph& graph);
[[nodiscard]] nlohmann::json to_json(const ModelGraph& graph);
[[nodiscard]] ModelGraph model_graph_from_json(const nlohmann::json& json, const std::string& source);

/// For each group the groups that its forward nodes get data from.
[[nodiscard]] std::vector<std::vector<int>> group_predecessors(const ModelGraph& graph);

/// The groups, each after its predecessors: depth first from the last node of the graph, so that what belongs to one
/// branch stays together.
[[nodiscard]] std::vector<int> linear_order(const ModelGraph& graph);

}  // namespace motley

#pragma once

#include <filesystem>

#include "motley/plan/model_graph.h"

namespace motley {

/// PipeDream's profiles (msr-fiddle/pipedream, profiler/*/profiles/*/graph.txt): a line "nodeK -- description --
/// forward_compute_time=ms, backward_compute_time=ms, activation_size=bytes, parameter_size=bytes" a node, tab-indented
/// lines "nodeA -- nodeB" for edges. As in the authors' optimiser, sources that are called Input (they carry the time
/// of loading data) and sinks that are called __getitem__ are left out. Throws InputError naming file and line.
[[nodiscard]] ModelGraph import_pipedream(const std::filesystem::path& file);

/// The layer graphs of msr-fiddle/dnn-partitioning (Tarnawski et al., NeurIPS 2020): JSON with nodes (fpgaLatency and
/// cpuLatency in ms, size in bytes, colorClass, isBackwardNode), edges (cost in ms), maxFPGAs, maxSizePerFPGA, maxCPUs.
/// Nodes of a colour are a group. Throws InputError naming file and field.
[[nodiscard]] ModelGraph import_dnn_partitioning(const std::filesystem::path& file);

}  // namespace motley

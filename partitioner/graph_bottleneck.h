#pragma once

#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/plan/model_graph.h"

namespace motley {

/// What a stage of an asynchronous pipeline costs: the pipeline is as fast as its slowest stage.
///
/// Replicated: n equal devices, links of one bandwidth. A stage on r of them takes compute / r + 4 (r - 1) / r *
/// parameters / bandwidth for a minibatch (a ring all-reduce moves 2 (r - 1) / r of the bytes in and as many out), and
/// its input and output edges 2 * bytes / (r * bandwidth) (activations there, gradients back; the first stage's output
/// counts at its receiver only). This is PipeDream's cost (Narayanan et al., SOSP 2019) with its optimiser's two faults
/// mended: it divides the all-reduce by r twice, and hands devices to stages that compute nothing.
///
/// PipeDream: that optimiser's cost as it is, for comparison.
///
/// Single: no replicas; accelerators and hosts as the model says; a device takes its compute, the transfers of all that
/// its nodes get from others (once a node that is read) and of all that others get from its nodes (once a node)
/// (Tarnawski et al., NeurIPS 2020).
enum class StageCost { Replicated, PipeDream, Single };

struct BottleneckOptions {
  StageCost cost = StageCost::Replicated;
  int devices = 0;           ///< Replicated, PipeDream
  BytesPerSecond bandwidth;  ///< Replicated, PipeDream
  bool linearise = false;    ///< cut linear_order() instead of the graph
  std::size_t most_cuts = 20'000;
};

/// Groups on `replicas` equal devices, or on a host.
struct GraphStage {
  std::vector<int> groups;  ///< in an order that respects the graph
  int replicas = 1;
  bool on_host = false;
};

struct BottleneckPlan {
  std::vector<GraphStage> stages;
  Seconds bottleneck;
  Seconds lower_bound;  ///< of every plan of contiguous stages: the search is exact, so it is the bottleneck
  Seconds solve;
  std::size_t cuts = 0;  ///< sets of groups that a boundary can leave behind
};

/// Cuts the graph into contiguous stages (what a boundary leaves behind is closed under predecessors) so that the
/// slowest stage takes the least time; devices may stay unused. Exact: a dynamic programme over the graph's downsets,
/// O(cuts^2 * devices^2) for Replicated and PipeDream, O(cuts^2 * (accelerators * hosts + edges)) at most for Single.
/// Throws InputError when there are more than `most_cuts` downsets, naming `linearise`; when the options lack devices
/// or a bandwidth, or the model its devices; and when no cut fits in memory.
[[nodiscard]] BottleneckPlan solve_bottleneck(const ModelGraph& graph, const BottleneckOptions& options);

/// The slowest stage or edge of `stages`, computed from the graph and the formulas above alone. Throws InputError when
/// the stages are not contiguous, do not hold every group once, use more devices than there are, do not fit in memory,
/// or (Replicated) replicate a stage that computes nothing.
[[nodiscard]] Seconds bottleneck_of(const std::vector<GraphStage>& stages, const ModelGraph& graph,
                                    const BottleneckOptions& options);

}  // namespace motley

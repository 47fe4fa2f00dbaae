#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "motley/runtime/executor.h"
#include "motley/schedule/schedule.h"
#include "motley/workloads/workload.h"

namespace motley {

constexpr std::uint64_t kSeed = 7;
constexpr std::int64_t kMicroBatchSize = 2;

/// A router of six layers, with dropout of inputs and branches, on synthetic data.
[[nodiscard]] Workload small_router();
/// A transformer of five layers.
[[nodiscard]] Workload small_transformer();

/// AdamW with weight decay, a warm-up and a clip that bites.
[[nodiscard]] OptimizerOptions clipped_adamw();

/// Samples of a training step of `micro_batches` micro-batches.
[[nodiscard]] std::vector<std::int64_t> batch_of(const Workload& workload, std::int64_t step, int micro_batches);

/// What a run leaves that must not depend on the plan.
struct Outcome {
  std::vector<double> losses;
  std::vector<double> norms;
  std::vector<at::Tensor> weights;  ///< flat, by layer; undefined where the layer is on another rank
};

/// The oracle: one stage with all layers, one micro-batch after the other, no executor.
[[nodiscard]] Outcome plain_loop(const Workload& workload, int micro_batches, int steps);

/// `count` stages of about equal length: first layers of each, and the end.
[[nodiscard]] std::vector<int> even_cuts(const Workload& workload, int count);

/// One rank's stages for cuts {0, ..., layers}.
class OwnStages {
 public:
  OwnStages(const Workload& workload, const std::vector<int>& cuts, const std::vector<int>& rank_of_stage, int rank,
            const OptimizerOptions& options = clipped_adamw());
  /// Those that `compute` has on the rank.
  OwnStages(const Workload& workload, const std::vector<int>& cuts, const Schedule& compute, int rank,
            ComputeDevice* device = nullptr);
  [[nodiscard]] const std::map<int, Stage*>& view() const { return view_; }

 private:
  void add(const Workload& workload, const std::vector<int>& cuts, std::size_t stage, const OptimizerOptions& options,
           ComputeDevice* device);

  std::vector<std::unique_ptr<Stage>> owned_;
  std::map<int, Stage*> view_;
};

struct RunOptions {
  bool clip_action = true;  ///< NORM in the schedule
  int receive_ahead = 2;
  bool trace = false;
  Shares shares = {};  ///< of a replicated schedule
  std::vector<Wire> wires = {};
  ComputeDevice* device = nullptr;  ///< null: the host
  const NcclApi* nccl = nullptr;
  std::function<std::string(int from, int to)> edge_transport = {};
  std::string group_transport = "host";
};

[[nodiscard]] ExecutorOptions executor_options(bool trace = false);

/// Trains `steps` steps of a compute schedule (placed on ranks) through an executor.
[[nodiscard]] Outcome train(Communicator& communicator, const Workload& workload, const std::vector<int>& cuts,
                            const Schedule& compute, int steps, const RunOptions& options = {});

/// `compute` with every B as I, and its W `lag` backward passes later.
[[nodiscard]] Schedule weights_apart(const Schedule& compute, int lag);

/// All forwards stage by stage, then all backwards, of any placement (stage -> rank).
[[nodiscard]] Schedule stage_by_stage(const std::vector<int>& rank_of_stage, int micro_batches, int rank_count);

}  // namespace motley

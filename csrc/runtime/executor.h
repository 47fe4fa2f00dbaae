#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/comm/fabric.h"
#include "motley/comm/nccl/api.h"
#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/record/trace.h"
#include "motley/runtime/compute.h"
#include "motley/runtime/message_sizes.h"
#include "motley/runtime/step_exchange.h"
#include "motley/runtime/timeline.h"
#include "motley/runtime/transfers.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/schedule.h"
#include "motley/stage/stage.h"
#include "motley/stage/wire.h"
#include "motley/workloads/workload.h"

namespace motley {

struct StepResult {
  double loss = 0.0;           ///< mean over the batch, the same on every rank
  double gradient_norm = 0.0;  ///< before clipping
  Seconds wall;
  std::vector<RankTimes> ranks;  ///< of the step before this one; empty at the first
  StepSignals signals;           ///< agreed by all ranks
};

struct ExecutorOptions {
  std::uint64_t seed = 1;
  std::int64_t micro_batch_size = 1;
  Shares shares = {};               ///< as the schedule was lowered with; empty: every stage has one rank
  std::vector<Wire> wires = {};     ///< of the edge behind each stage; empty: as it is
  OptimizerOptions optimizer;       ///< for the clip
  bool trace = false;               ///< keep events of the last step
  ComputeDevice* device = nullptr;  ///< where the stages are; null: the host
  const NcclApi* nccl = nullptr;
  /// How the edge between two ranks crosses and how a group sums, "nccl" or "host": the same answers on every rank. Not
  /// asked where a device is the host. Empty: "host".
  std::function<std::string(int from, int to)> edge_transport = {};
  std::function<std::string(const std::vector<int>& ranks)> group_transport = {};
};

/// Interprets a rank's row of a lowered schedule. No schedule logic lives here: what the row says, in its order.
///
/// SEND and RECV start transfers and go on; the compute that needs data waits for it. One engine thread. Every wait has
/// the communicator's deadline and names its action. Whatever a step throws ends the run on every rank first, so that
/// nothing is under way in the executor's buffers when it goes.
class Executor {
 public:
  /// `stages` are those this rank's row names, by stage index, with the cut that every rank uses. All references must
  /// outlive the executor. Throws InputError naming the action when the schedule cannot be run (see expect_runnable).
  Executor(Communicator& communicator, const Workload& workload, std::map<int, Stage*> stages, const Schedule& lowered,
           ExecutorOptions options, Pacer pacer);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// One training iteration over `samples` (size: micro-batches x micro-batch size). Collective over the communicator's
  /// world. Throws CommError, or Fault when loss or gradients are not finite: no parameter of any rank has changed
  /// then.
  StepResult train(std::int64_t step, std::span<const std::int64_t> samples, const StepSignals& signals = {});

  /// Forward only over `samples` of `split`, with a schedule of forwards. Returns the named outputs of the last stage's
  /// layers, one row per sample, on the rank that has it; nothing elsewhere.
  Fields evaluate(Split split, std::span<const std::int64_t> samples);

  /// Returns when the device is through with the last step. On a CUDA device its last actions' times are known only
  /// then; without it they count in the step after.
  void settle();

  /// Times of the last step of this rank, what it saw of links, and its events when traced.
  [[nodiscard]] const RankTimes& times() const { return timeline_.times(); }
  [[nodiscard]] const std::vector<LinkTimes>& links() const { return timeline_.links(); }
  [[nodiscard]] const std::vector<TraceEvent>& events() const { return timeline_.events(); }
  [[nodiscard]] const std::vector<Action>& actions() const { return row_; }

 private:
  /// What holds for all actions of one pass through the row.
  struct Pass {
    std::int64_t step;
    Split split;
    bool training;
    std::span<const std::int64_t> samples;
    std::map<int, Fields>* outputs;  ///< by micro-batch; null unless evaluating
    StepSignals signals = {};
  };

  void run(const Pass& pass);
  void perform(const Action& action, std::size_t index, const Pass& pass);
  void forward(const Action& action, std::size_t index, const Pass& pass);
  void recompute(const Action& action, std::size_t index, const Pass& pass);
  void reduce(const Action& action, std::size_t index);
  void backward(const Action& action, std::size_t index, const Pass& pass);
  /// Loss and norm, on first use: several stages of this rank share one exchange.
  const StepTotals& totals(const Pass& pass);
  [[nodiscard]] std::unique_ptr<Fabric> make_fabric(const Schedule& lowered,
                                                    const std::vector<std::vector<int>>& ranks_of_stage);
  [[nodiscard]] MessageSizes message_sizes() const;
  [[nodiscard]] Wire wire_of(const Action& action) const;
  [[nodiscard]] Rows rows_of(const Action& action) const;
  /// Runs `body` on the device and books its time.
  template <typename Body>
  auto compute(Op op, std::size_t index, Body&& body);
  [[nodiscard]] Stage& stage(int index) const { return *stages_.at(index); }
  /// What this rank owns of a stage of its own.
  [[nodiscard]] Share share_of(int stage) const;
  [[nodiscard]] std::int64_t rows_of(int stage) const;
  [[nodiscard]] Fields fields_of(const Action& action, const Pass& pass) const;
  [[nodiscard]] Crossing crossing_of(const Action& action, int peer, const Pass& pass) const;

  Communicator& communicator_;
  const Workload& workload_;
  std::map<int, Stage*> stages_;
  std::vector<Action> row_;
  std::vector<std::string> labels_;  // of row_, made once
  std::vector<std::string> sends_;   // of row_'s receives: what the other end calls it
  std::vector<int> peers_;           // of row_; -1 where none
  std::size_t micro_batches_;
  bool trains_ = false;  // some rank's row has a backward pass
  ExecutorOptions options_;
  std::set<int> recomputed_;  // stages of which F keeps the input alone

  std::unique_ptr<ComputeDevice> host_;  // where no other device is given
  ComputeDevice& device_;
  Timeline timeline_;
  std::unique_ptr<Fabric> fabric_;
  std::map<int, std::unique_ptr<Reduction>> groups_;  // ranks that replicate a stage of this one
  Compute compute_;
  Transfers transfers_;
  StepExchange exchange_;
  std::optional<StepTotals> totals_;  // of this step, once known
  std::optional<RankTimes> last_times_;
};

}  // namespace motley

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/device/pacing.h"
#include "motley/record/trace.h"
#include "motley/schedule/schedule.h"
#include "motley/stage/stage.h"
#include "motley/workloads/workload.h"

namespace motley {

/// What one rank did in one iteration.
struct RankTimes {
  Seconds busy;      ///< in layers and updates
  Seconds waiting;   ///< for data of other ranks
  Seconds transfer;  ///< its own sends, from start to end, added up
};

struct StepResult {
  double loss = 0.0;           ///< mean over the batch, the same on every rank
  double gradient_norm = 0.0;  ///< before clipping
  Seconds wall;
  std::vector<RankTimes> ranks;  ///< of the step before this one; empty at the first
};

struct ExecutorOptions {
  std::uint64_t seed = 1;
  std::int64_t micro_batch_size = 1;
  OptimizerOptions optimizer;  ///< for the clip
  bool trace = false;          ///< keep events of the last step
};

/// Interprets a rank's row of a lowered schedule. No schedule logic lives here: what the row says, in its order.
///
/// SEND and RECV start transfers and go on; the compute that needs data waits for it. One engine thread; buffers of
/// sends live until they are done. Every wait has the communicator's deadline and names the action.
class Executor {
 public:
  /// `stages` are those this rank's row names, by stage index. All must outlive the executor. `layers` is the model's.
  Executor(Communicator& communicator, const Workload& workload, std::map<int, Stage*> stages, Schedule lowered,
           ExecutorOptions options, Pacer pacer);

  /// One training iteration over `samples` (size: micro-batches x micro-batch size). Collective over the communicator's
  /// world. Throws CommError, or Fault when the loss is not finite, before any parameter has changed.
  StepResult train(std::int64_t step, std::span<const std::int64_t> samples);

  /// Forward only over `samples` of `split`, with a schedule of forwards. Returns the named outputs of the last stage's
  /// layers, one row per sample, on the rank that has it; nothing elsewhere.
  Fields evaluate(Split split, std::span<const std::int64_t> samples);

  /// Times of the last step of this rank, and its events when traced.
  [[nodiscard]] const RankTimes& times() const { return times_; }
  [[nodiscard]] const std::vector<TraceEvent>& events() const { return events_; }
  [[nodiscard]] const std::vector<Action>& actions() const { return row_; }

 private:
  /// Tensors on their way, in or out, of one boundary of one micro-batch.
  struct Transfer {
    std::vector<Work> works;
    TensorList tensors;
    std::size_t action = 0;
  };
  using Key = std::pair<int, int>;  // stage, micro-batch

  void run(std::int64_t step, Split split, bool training, std::span<const std::int64_t> samples, Fields* outputs);
  void perform(const Action& action, std::size_t index, std::int64_t step, Split split, bool training,
               std::span<const std::int64_t> samples, Fields* outputs);
  void send(const Action& action, std::size_t index, TensorList tensors);
  void receive(const Action& action, std::size_t index, const Boundary& boundary, bool gradients);
  TensorList take(std::map<Key, Transfer>& from, std::map<Key, TensorList>& local, Key key, std::size_t index);
  void reap(bool all);
  void exchange_norms(std::int64_t step);
  void update(const Action& action, std::int64_t step);
  /// Runs `body` at the emulated speed and books its time.
  template <typename Body>
  auto compute(const Action& action, std::size_t index, Body&& body);
  Fields fields_of(const Stage& stage, Split split, std::span<const std::int64_t> samples, int micro_batch) const;
  [[nodiscard]] Stage& stage(int index) const;

  Communicator& communicator_;
  const Workload& workload_;
  std::map<int, Stage*> stages_;
  std::vector<Action> row_;
  std::vector<std::string> labels_;  // of row_, made once
  std::vector<int> peers_;           // of row_; -1 where none
  std::vector<int> rank_of_stage_;
  ExecutorOptions options_;
  Pacer pacer_;

  std::map<Key, Transfer> forward_in_;
  std::map<Key, Transfer> backward_in_;
  std::map<Key, TensorList> forward_local_;  // handed over inside this rank
  std::map<Key, TensorList> backward_local_;
  std::map<Key, TensorList> forward_out_;  // made by F, taken by SEND_F
  std::map<Key, TensorList> backward_out_;
  std::vector<Transfer> sends_;
  std::vector<double> exchanged_;  // this rank's share of the norm exchange
  std::vector<double> gathered_;
  bool norms_known_ = false;
  StepResult result_;
  RankTimes times_;
  RankTimes last_times_;
  bool has_last_times_ = false;
  std::vector<TraceEvent> events_;
};

}  // namespace motley

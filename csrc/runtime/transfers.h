#pragma once

#include <string>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/runtime/timeline.h"
#include "motley/workloads/layer.h"

namespace motley {

/// What a stage is handed: the input of its forward or the output gradients of its backward pass.
struct Handover {
  enum class Pass { Forward, Backward };
  Pass pass;
  int stage;  ///< the one that needs it
  int micro_batch;
};

/// Tensors between stages: made here, on their way out, on their way in.
///
/// Owns every buffer that the communicator may touch, from before it is posted until its work is done. To be destroyed
/// only when nothing is under way: after finish(), or after the communicator was aborted. Labels must outlive the
/// transfers and name the action. In a steady state it allocates nothing but the tensors it hands over.
class Transfers {
 public:
  /// For hand-overs of `stages` stages (all of the pipeline's) and `micro_batches` micro-batches.
  Transfers(Communicator& communicator, Timeline& timeline, int stages, int micro_batches);

  /// Keeps what a stage of this rank made until send() or take().
  void put(const Handover& what, TensorList tensors);

  /// Starts to send what was put, to rank `peer`. Does not wait.
  void send(const Handover& what, int peer, const std::string& label);

  /// Posts the receive of `boundary`'s tensors for `samples` samples (those that have a gradient, for a backward pass)
  /// from rank `peer`. Does not wait.
  void receive(const Handover& what, int peer, const Boundary& boundary, std::int64_t samples,
               const std::string& label);

  /// What was put here, or what arrives for a posted receive: waits for it. Throws CommError.
  [[nodiscard]] TensorList take(const Handover& what, const std::string& consumer);

  /// Frees the buffers of sends that are done. Does not wait.
  void reap();

  /// Waits until all sends are done. InternalError when something was made or received that nobody took.
  void finish();

 private:
  enum class State { Empty, Made, Arriving };
  struct Transfer {
    const std::string* label = nullptr;
    int peer = -1;
    TensorList tensors;
    std::vector<Work> works;
    State state = State::Empty;  // of a slot

    [[nodiscard]] bool done() const;
  };

  [[nodiscard]] Transfer& slot(const Handover& what);
  void wait(Transfer& transfer);
  void book(const Transfer& transfer);

  Communicator& communicator_;
  Timeline& timeline_;
  int micro_batches_;
  std::vector<Transfer> slots_;    // [stage, micro-batch, pass]
  int filled_ = 0;                 // slots that are not empty
  std::vector<Transfer> leaving_;  // the first leaving_count_, in the order of sending; the others keep their memory
  std::size_t leaving_count_ = 0;
};

}  // namespace motley

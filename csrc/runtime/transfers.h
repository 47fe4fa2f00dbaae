#pragma once

#include <string>
#include <vector>

#include "motley/comm/work.h"
#include "motley/runtime/compute.h"
#include "motley/runtime/timeline.h"
#include "motley/stage/wire.h"
#include "motley/workloads/layer.h"

namespace motley {

/// What a stage is handed: the input of its forward or the output gradients of its backward pass.
struct Handover {
  enum class Pass { Forward, Backward };
  Pass pass;
  int stage;  ///< the one that needs it
  int micro_batch;
};

/// Rows of a stage's tensors that one message carries: the samples that both ends own.
struct Rows {
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// How a message crosses.
struct Crossing {
  int peer;
  Rows rows;
  Wire wire = Wire::Float32;
  std::uint64_t key = 0;  ///< of a rounding by chance
};

/// Tensors between stages: made here, on their way out, on their way in.
///
/// Owns every buffer that the fabric may touch, from before it is posted until its work is done. To be destroyed only
/// when nothing is under way: after the fabric. Labels must outlive the transfers and name the action. In a steady
/// state it allocates nothing but the tensors it hands over.
class Transfers {
 public:
  /// For hand-overs of `stages` stages (all of the pipeline's) and `micro_batches` micro-batches. What is encoded and
  /// decoded takes the time of the device.
  Transfers(Compute& compute, Timeline& timeline, int stages, int micro_batches);

  /// Keeps what a stage of this rank made of `rows` samples until send() or take().
  void put(const Handover& what, std::int64_t rows, TensorList tensors);

  /// Encodes rows of what was put and starts to send them. Does not wait. All rows of a hand-over are sent once.
  void send(const Handover& what, const Crossing& crossing, const std::string& label);

  /// Posts the receive of rows of `boundary`'s tensors (those that have a gradient, for a backward pass), which have
  /// `samples` rows in all. Does not wait. `send`: label of the SEND at the other end.
  void receive(const Handover& what, const Crossing& crossing, const Boundary& boundary, std::int64_t samples,
               const std::string& label, const std::string& send);

  /// What was put here, or what arrives for the posted receives: waits for all rows and decodes them. Throws CommError.
  [[nodiscard]] TensorList take(const Handover& what, const std::string& consumer);

  /// Books the messages that are done and frees their buffers. Does not wait.
  void reap();

  /// Waits for all messages: their buffers may go. InternalError when something was made or received that nobody took.
  void finish();

 private:
  /// One message on its way out, or one that was taken.
  struct Message {
    const std::string* send = nullptr;  // label of its SEND
    int from = -1;
    int to = -1;
    Bytes bytes;
    TensorList tensors;  // of one on its way out
    std::vector<Work> works;
  };
  /// A posted receive of a slot.
  struct Incoming {
    const std::string* send;
    int from;
    Bytes bytes;
    std::size_t works;  // how many of the slot's
  };
  /// Rows that arrive encoded.
  struct Encoded {
    Wire wire;
    at::Tensor bytes;
    at::Tensor rows;
  };
  /// One hand-over.
  struct Slot {
    enum class State { Empty, Made, Arriving };
    State state = State::Empty;
    TensorList tensors;
    std::int64_t rows_left = 0;  // to be sent, or to be received
    std::vector<Work> works;
    std::vector<Incoming> incoming;
    std::vector<Encoded> encoded;
    const std::string* label = nullptr;  // of the last receive
  };

  [[nodiscard]] Slot& slot(const Handover& what);
  void empty(Slot& slot);
  void wait(std::vector<Work>& works, const std::string& label);
  /// A message to fill in, in place until it is done.
  [[nodiscard]] Message& add_message(const std::string& send, int from, int to);
  /// What arrived in `slot` is to be booked when it is done.
  void keep_arrived(Slot& slot);

  Compute& compute_;
  Timeline& timeline_;
  int micro_batches_;
  std::vector<std::span<const std::byte>> out_;  // parts of a message
  std::vector<std::span<std::byte>> in_;
  std::vector<Slot> slots_;        // [stage, micro-batch, pass]
  int filled_ = 0;                 // slots that are not empty
  std::vector<Message> messages_;  // the first message_count_, by age; the others keep their memory
  std::size_t message_count_ = 0;
};

}  // namespace motley

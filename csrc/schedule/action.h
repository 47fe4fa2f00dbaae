#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace motley {

/// What a rank does. The grammar is that of PyTorch's pipeline schedules (torch/distributed/pipelining/schedules.py),
/// extended by NORM and UPDATE, by RECOMPUTE with a micro-batch, and by sample intervals and a peer of a transfer.
enum class Op : std::uint8_t {
  Idle,                    ///< an empty cell of a CSV
  Forward,                 ///< 0F3
  BackwardInput,           ///< 0I3
  BackwardWeight,          ///< 0W3
  Backward,                ///< 0B3: both
  SendForward,             ///< 0SEND_F3
  ReceiveForward,          ///< 1RECV_F3
  SendBackward,            ///< 1SEND_B3
  ReceiveBackward,         ///< 0RECV_B3
  Unshard,                 ///< 0UNSHARD
  Reshard,                 ///< 0RESHARD
  ReduceGradient,          ///< 0REDUCE_GRAD
  Recompute,               ///< 0RECOMPUTE3
  Norm,                    ///< 0NORM: squared gradient norms go round all ranks
  Update,                  ///< 0UPDATE: clip and optimiser step
  OverlapForwardBackward,  ///< (0F7;7B3)OVERLAP_F_B
};

/// One action. Stage and micro-batch count from 0; micro_batch is -1 where the action has none.
struct Action {
  Op op = Op::Idle;
  int stage = 0;
  int micro_batch = -1;
  int peer = -1;                   ///< rank at the other end of a transfer; -1: follows from the stage
  std::int64_t sample_begin = 0;   ///< [sample_begin, sample_end) of a transfer between replicas;
  std::int64_t sample_end = 0;     ///< both 0: the whole micro-batch
  std::vector<Action> parts = {};  ///< of OVERLAP_F_B, in order

  friend bool operator==(const Action&, const Action&) = default;
};

[[nodiscard]] bool is_compute(Op op);  ///< F, I, W, B, RECOMPUTE, OVERLAP_F_B
[[nodiscard]] bool is_send(Op op);
[[nodiscard]] bool is_receive(Op op);

/// The SEND whose message `receive` of `rank` takes.
[[nodiscard]] Action send_of(const Action& receive, int rank);

/// "0SEND_F3", "0SEND_F3[0:4]@2", "(0F7;7B3)OVERLAP_F_B", "" for Idle.
[[nodiscard]] std::string to_string(const Action& action);
/// The inverse. Throws InputError naming the text and what was expected.
[[nodiscard]] Action parse_action(std::string_view text);

}  // namespace motley

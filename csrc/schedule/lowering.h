#pragma once

#include <string>
#include <vector>

#include "motley/schedule/schedule.h"

namespace motley {

/// Lowers a compute schedule: adds SEND_F / RECV_F / SEND_B / RECV_B between neighbouring stages on different ranks.
///
/// What a lowered schedule means, for validate, simulate and the runtime alike:
///  - A SEND stands after the compute that made its data (and after RECVs posted there); it starts the transfer and
///  does not block.
///  - A RECV posts the receive and does not block; the compute that needs the data waits for it.
///  - Every ordered pair of ranks is one FIFO channel: k-th SEND matches k-th RECV. A channel carries one message at a
///  time.
///  - RECVs are posted ahead: the RECV of message k of a channel stands right after the compute that consumes message
///    k - `receive_ahead` of this channel (the first `receive_ahead` at the start), and never after its own consumer.
///    So at most `receive_ahead` tensors of a channel are posted or held at a time where they are consumed in the order
///    of sending. NCCL wants 1, hosts 2.
/// Neighbouring stages on one rank hand over in memory and get no transfers. O(actions). Throws InputError for a
/// schedule that already has transfers or that cannot be lowered.
[[nodiscard]] Schedule add_transfers(const Schedule& compute, int receive_ahead = 2);

/// Drops transfers, NORM, UPDATE and idle cells; keeps the order of the rest.
[[nodiscard]] Schedule compute_only(const Schedule& schedule);

struct ValidationOptions {
  bool sends_wait = false;  ///< a SEND blocks its rank until the matching RECV is posted (rendezvous without threads)
  bool receives_wait =
      false;  ///< a RECV blocks its rank until the data is there (PyTorch's golden comms, naive schedules)
};

/// Every reason why this schedule cannot run or would train something else: missing or doubled actions of a (stage,
/// micro-batch), order (F before B, I before W, W and B of a stage in micro-batch order), unmatched or misordered
/// transfers, deadlock (named: which ranks wait for which action). Empty: valid. Golden schedules of PyTorch whose W
/// are out of micro-batch order are reported with `Problem::weight_order` so that callers may choose to buffer.
struct Problem {
  enum class Kind { Missing, Doubled, Misordered, WeightOrder, Unmatched, Deadlock };
  Kind kind;
  std::string message;
};
[[nodiscard]] std::vector<Problem> validate(const Schedule& schedule, const ValidationOptions& options = {});

}  // namespace motley

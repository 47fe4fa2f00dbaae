#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "motley/schedule/schedule.h"

namespace motley {

/// The samples [sample_begin, sample_end) of every micro-batch that a rank owns of a stage.
struct Share {
  int rank = 0;
  std::int64_t sample_begin = 0;
  std::int64_t sample_end = 0;
};
/// [stage]: its replicas by ascending samples, which go on from each other.
using Shares = std::vector<std::vector<Share>>;

/// Gives every replica of a stage the row of the stage's first one. A row holds stages with the same ranks.
[[nodiscard]] Schedule replicate(Schedule schedule, const Shares& shares);

/// Adds RECOMPUTE right before B, or I where they are apart, of the stages s with recompute[s].
[[nodiscard]] Schedule with_recompute(Schedule schedule, const std::vector<bool>& recompute);

/// Lowers a compute schedule: adds SEND_F / RECV_F / SEND_B / RECV_B between neighbouring stages on different ranks.
///
/// What a lowered schedule means, for validate, simulate and the runtime alike:
///  - A SEND stands after the compute that made its data (and after RECVs posted there); it starts the transfer and
///  does not block. Where the edge has a wire format the rank encodes first.
///  - A RECV posts the receive and does not block; the compute that needs the data waits for it, and decodes.
///  - Every ordered pair of ranks is one FIFO channel: k-th SEND matches k-th RECV. A channel carries one message at a
///  time.
///  - RECVs are posted ahead: the RECV of message k of a channel stands right after the compute that consumes message
///    k - `receive_ahead` of this channel (the first `receive_ahead` at the start), and never after its own consumer.
///    So at most `receive_ahead` tensors of a channel are posted or held at a time where they are consumed in the order
///    of sending. NCCL wants 1, hosts 2.
///  - A stage on several ranks is replicated: each computes its share of every micro-batch. Two replicas of
///    neighbouring stages exchange exactly the samples that both own, "0SEND_F3[0:4]@2": samples 0 to 3 of micro-batch
///    3 to rank 2. A compute waits for all its messages. REDUCE_GRAD sums the stage's gradients over its ranks; each
///    waits there until all have come.
/// Neighbouring stages on one rank hand over in memory and get no transfers; they must have the same share there.
/// `shares`: empty where every stage has one rank. O(actions log actions). Throws InputError for a schedule that
/// already has transfers or that cannot be lowered.
[[nodiscard]] Schedule add_transfers(const Schedule& compute, int receive_ahead = 2, const Shares& shares = {});

/// Drops transfers, REDUCE_GRAD, NORM, UPDATE and idle cells; keeps the order of the rest.
[[nodiscard]] Schedule compute_only(const Schedule& schedule);

struct ValidationOptions {
  bool sends_wait = false;  ///< a SEND blocks its rank until the matching RECV is posted (rendezvous without threads)
  bool receives_wait =
      false;  ///< a RECV blocks its rank until the data is there (PyTorch's golden comms, naive schedules)
};

/// Every reason why this schedule cannot run or would train something else: missing or doubled actions of a (stage,
/// micro-batch) on a rank of the stage, order (F before RECOMPUTE before B, I before W, W and B of a stage in
/// micro-batch order, REDUCE_GRAD between the last gradient and NORM or UPDATE), unmatched or misordered transfers,
/// messages whose samples do not add up to the shares of the replicas, deadlock (named: which ranks wait for which
/// action). Empty: valid. Golden schedules of PyTorch whose W are out of micro-batch order are reported with
/// `Problem::weight_order` so that callers may choose to buffer.
struct Problem {
  enum class Kind { Missing, Doubled, Misordered, WeightOrder, Unmatched, Deadlock };
  Kind kind;
  std::string message;
};
[[nodiscard]] std::vector<Problem> validate(const Schedule& schedule, const ValidationOptions& options = {});

}  // namespace motley

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "motley/schedule/schedule.h"

namespace motley {

/// A lowered schedule in flat arrays, made once and replayed under any costs (Simulator). A replica is a stage on one
/// of its ranks; a lane is the messages of one edge between two replicas in one direction; a channel is an ordered pair
/// of ranks with all its lanes, one message at a time.
///
/// Making it is O(actions) and throws InputError when a stage is computed nowhere or a transfer has no other end.
class Program {
 public:
  explicit Program(const Schedule& lowered);

  struct Step {
    Op op;
    bool joined = false;  ///< an OVERLAP_F_B goes on with the next step
    std::int32_t where;   ///< lane of a SEND or RECV, else replica
    std::int32_t micro_batch;
  };
  struct Replica {
    int stage;
    int rank;
    int below = -1;  ///< the replica of the stage before on the same rank
    int above = -1;  ///< the replica of the stage after on the same rank
    bool recomputes = false;
    bool sums = false;  ///< has a REDUCE_GRAD
  };
  struct Lane {
    int from;  ///< replica
    int to;    ///< replica
    int channel;
    bool forward;
    Action send;  ///< of micro-batch 0
  };
  struct Channel {
    int from;  ///< rank
    int to;    ///< rank
    std::size_t sends = 0;
    std::size_t receives = 0;
    std::size_t first_message = 0;  ///< where its messages begin among all
  };

  [[nodiscard]] int ranks() const { return static_cast<int>(row_begin_.size()) - 1; }
  [[nodiscard]] int stages() const { return static_cast<int>(replicas_of_.size()); }
  [[nodiscard]] std::size_t micro_batches() const { return micro_batches_; }
  [[nodiscard]] bool has_transfers() const { return !lanes_.empty(); }
  [[nodiscard]] int norm_ranks() const { return norm_ranks_; }
  [[nodiscard]] std::size_t messages() const { return messages_; }
  [[nodiscard]] std::span<const Step> row(int rank) const {
    const auto r = static_cast<std::size_t>(rank);
    return std::span(steps_).subspan(row_begin_[r], row_begin_[r + 1] - row_begin_[r]);
  }
  [[nodiscard]] std::span<const Replica> replicas() const { return replicas_; }
  [[nodiscard]] std::span<const int> replicas_of(int stage) const {
    return replicas_of_[static_cast<std::size_t>(stage)];
  }
  [[nodiscard]] std::span<const Lane> lanes() const { return lanes_; }
  [[nodiscard]] std::span<const Channel> channels() const { return channels_; }
  /// [replica, micro-batch]: how many messages or neighbours its F (its B or I) waits for.
  [[nodiscard]] std::span<const std::uint16_t> awaited_forward() const { return awaited_forward_; }
  [[nodiscard]] std::span<const std::uint16_t> awaited_backward() const { return awaited_backward_; }

  /// The action that a step, or a step and the one joined to it, came from.
  [[nodiscard]] Action action(std::span<const Step> steps) const;

 private:
  void add(int rank, const Action& action, bool joined);
  [[nodiscard]] int replica(int stage, int rank) const;
  [[nodiscard]] int other_end(const Action& action, int rank) const;
  [[nodiscard]] int lane(const Action& action, int rank);
  [[nodiscard]] int channel(int from, int to);
  void count_awaited();

  std::vector<Step> steps_;
  std::vector<std::size_t> row_begin_;
  std::size_t micro_batches_ = 1;
  int norm_ranks_ = 0;
  std::size_t messages_ = 0;
  std::vector<Replica> replicas_;
  std::vector<std::vector<int>> replicas_of_;  // [stage]
  std::vector<std::vector<int>> of_rank_;      // [rank], replicas
  std::vector<Lane> lanes_;
  std::vector<std::vector<int>> lanes_of_;  // [sending replica]
  std::vector<Channel> channels_;
  std::vector<std::vector<int>> channels_from_;  // [rank]
  std::vector<std::uint16_t> awaited_forward_, awaited_backward_;
};

}  // namespace motley

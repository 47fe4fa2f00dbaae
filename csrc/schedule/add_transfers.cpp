#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "motley/base/error.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

constexpr std::size_t kForward = 0;
constexpr std::size_t kBackward = 1;
constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

struct Message {
  Action receive;
  std::size_t consumer = 0;  // column of the receiver's row
};

struct PostedReceive {
  std::size_t position;  // before this column
  Action action;
};

/// The parts that really compute: an overlap's two, or the action itself.
std::span<const Action> parts_of(const Action& action) {
  return action.op == Op::OverlapForwardBackward ? std::span<const Action>(action.parts) : std::span(&action, 1);
}

/// Ranks and samples of every stage, and where on each rank its passes stand.
class Places {
 public:
  Places(const Schedule& compute, const Shares& shares)
      : shares_(shares), micro_batches_(static_cast<std::size_t>(std::max(compute.micro_batch_count(), 1))) {
    if (shares_.empty()) {
      for (const int rank : compute.rank_of_stage()) {
        shares_.push_back({Share{rank, 0, 0}});
      }
    }
    std::size_t replicas = 0;
    for (const std::vector<Share>& stage : shares_) {
      first_.push_back(replicas);
      replicas += stage.size();
    }
    for (auto& table : column_) {
      table.assign(replicas * micro_batches_, kNowhere);
    }
  }

  [[nodiscard]] int stages() const { return static_cast<int>(shares_.size()); }
  [[nodiscard]] std::span<const Share> stage(int s) const { return shares_[static_cast<std::size_t>(s)]; }

  /// Which replica of stage `s` the rank is. Throws InputError if none.
  [[nodiscard]] std::size_t replica(int s, std::size_t rank) const {
    const std::span<const Share> of = s < stages() ? stage(s) : std::span<const Share>();
    for (std::size_t i = 0; i < of.size(); ++i) {
      if (of[i].rank == static_cast<int>(rank)) {
        return i;
      }
    }
    throw InputError::of("schedule: stage {} is computed on rank {}, which has no share of it", s, rank);
  }

  [[nodiscard]] std::size_t& column(std::size_t pass, int s, std::size_t replica, int micro_batch) {
    return column_[pass][(first_[static_cast<std::size_t>(s)] + replica) * micro_batches_ +
                         static_cast<std::size_t>(micro_batch)];
  }

  /// Calls visit(send, neighbour's replica, its rank) for every message of a pass on `rank`, by ascending samples.
  template <typename Visit>
  void for_each_message(const Action& part, std::size_t rank, Visit&& visit) const {
    const bool forward = part.op == Op::Forward;
    const int next = part.stage + (forward ? 1 : -1);
    if ((!forward && part.op != Op::Backward && part.op != Op::BackwardInput) || next < 0 || next >= stages()) {
      return;
    }
    const Share& mine = stage(part.stage)[replica(part.stage, rank)];
    const std::span<const Share> others = stage(next);
    const bool whole = others.size() == 1 && stage(part.stage).size() == 1;
    for (std::size_t i = 0; i < others.size(); ++i) {
      const Share& other = others[i];
      const std::int64_t begin = std::max(mine.sample_begin, other.sample_begin);
      const std::int64_t end = std::min(mine.sample_end, other.sample_end);
      if (!whole && begin >= end) {
        continue;
      }
      if (other.rank == mine.rank) {
        if (other.sample_begin != mine.sample_begin || other.sample_end != mine.sample_end) {
          throw InputError::of(
              "schedule: rank {} has samples [{}, {}) of stage {} and [{}, {}) of stage {}, expected "
              "the same of both",
              rank, mine.sample_begin, mine.sample_end, part.stage, other.sample_begin, other.sample_end, next);
        }
        continue;
      }
      Action send{forward ? Op::SendForward : Op::SendBackward, part.stage, part.micro_batch};
      if (!whole) {
        send.peer = other.rank;
        send.sample_begin = begin;
        send.sample_end = end;
      }
      visit(send, i, other.rank);
    }
  }

 private:
  Shares shares_;
  std::size_t micro_batches_;
  std::vector<std::size_t> first_;                  // [stage], replicas before
  std::array<std::vector<std::size_t>, 2> column_;  // [pass][replica, micro-batch]
};

/// By receiver: its receives in the order in which they are posted.
std::vector<std::vector<PostedReceive>> post_receives(const Schedule& compute, Places& places, int receive_ahead) {
  std::map<std::pair<int, int>, std::vector<Message>> channels;  // (from, to), in the sender's order
  for (std::size_t rank = 0; rank < compute.ranks.size(); ++rank) {
    for (const Action& action : compute.ranks[rank]) {
      for (const Action& part : parts_of(action)) {
        places.for_each_message(part, rank, [&](const Action& send, std::size_t replica, int to) {
          const bool forward = send.op == Op::SendForward;
          const int next = part.stage + (forward ? 1 : -1);
          const std::size_t consumer = places.column(forward ? kForward : kBackward, next, replica, part.micro_batch);
          if (consumer == kNowhere) {
            throw InputError::of("schedule: {} has no counterpart on stage {}", to_string(part), next);
          }
          Action receive = send;
          receive.op = forward ? Op::ReceiveForward : Op::ReceiveBackward;
          receive.stage = next;
          receive.peer = send.peer >= 0 ? static_cast<int>(rank) : -1;
          channels[{static_cast<int>(rank), to}].push_back({receive, consumer});
        });
      }
    }
  }

  std::vector<std::vector<PostedReceive>> receives(compute.ranks.size());
  for (const auto& [ends, messages] : channels) {
    // A receive may not come after its own consumer, nor overtake an earlier one of its channel.
    std::vector<std::size_t> latest(messages.size());
    for (std::size_t k = messages.size(); k-- > 0;) {
      latest[k] = k + 1 < messages.size() ? std::min(messages[k].consumer, latest[k + 1]) : messages[k].consumer;
    }
    const auto ahead = static_cast<std::size_t>(receive_ahead);
    std::size_t position = 0;
    for (std::size_t k = 0; k < messages.size(); ++k) {
      const std::size_t freed = k < ahead ? 0 : messages[k - ahead].consumer + 1;
      position = std::min(std::max(position, freed), latest[k]);
      receives[static_cast<std::size_t>(ends.second)].push_back({position, messages[k].receive});
    }
  }
  for (std::vector<PostedReceive>& of_rank : receives) {
    std::stable_sort(of_rank.begin(), of_rank.end(),
                     [](const PostedReceive& a, const PostedReceive& b) { return a.position < b.position; });
  }
  return receives;
}

}  // namespace

Schedule add_transfers(const Schedule& compute, int receive_ahead, const Shares& shares) {
  if (receive_ahead < 1) {
    throw InputError::of("schedule: receive_ahead is {}, expected at least 1", receive_ahead);
  }
  Places places(compute, shares);
  for (std::size_t rank = 0; rank < compute.ranks.size(); ++rank) {
    const std::vector<Action>& row = compute.ranks[rank];
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (is_send(row[i].op) || is_receive(row[i].op)) {
        throw InputError::of("schedule: has {} already, expected compute actions only", to_string(row[i]));
      }
      for (const Action& part : parts_of(row[i])) {
        if (part.op == Op::Forward || part.op == Op::Backward || part.op == Op::BackwardInput) {
          const std::size_t pass = part.op == Op::Forward ? kForward : kBackward;
          places.column(pass, part.stage, places.replica(part.stage, rank), part.micro_batch) = i;
        }
      }
    }
  }

  const std::vector<std::vector<PostedReceive>> receives = post_receives(compute, places, receive_ahead);
  Schedule lowered;
  for (std::size_t rank = 0; rank < compute.ranks.size(); ++rank) {
    std::vector<Action>& row = lowered.ranks.emplace_back();
    const std::vector<Action>& actions = compute.ranks[rank];
    row.reserve(2 * actions.size() + 2 * receives[rank].size());
    auto receive = receives[rank].begin();
    const auto post_before = [&](std::size_t column) {
      for (; receive != receives[rank].end() && receive->position <= column; ++receive) {
        row.push_back(receive->action);
      }
    };
    post_before(0);
    for (std::size_t i = 0; i < actions.size(); ++i) {
      if (actions[i].op != Op::Idle) {
        row.push_back(actions[i]);
      }
      post_before(i + 1);
      for (const Action& part : parts_of(actions[i])) {
        places.for_each_message(part, rank, [&](const Action& send, std::size_t, int) { row.push_back(send); });
      }
    }
  }
  return lowered;
}

Schedule compute_only(const Schedule& schedule) {
  Schedule result;
  for (const std::vector<Action>& row : schedule.ranks) {
    std::vector<Action>& kept = result.ranks.emplace_back();
    std::copy_if(row.begin(), row.end(), std::back_inserter(kept),
                 [](const Action& action) { return is_compute(action.op); });
  }
  return result;
}

}  // namespace motley

#include "motley/schedule/program.h"

#include <algorithm>

#include "motley/base/error.h"

namespace motley {

Program::Program(const Schedule& lowered)
    : micro_batches_(static_cast<std::size_t>(std::max(1, lowered.micro_batch_count()))) {
  of_rank_.resize(lowered.ranks.size());
  channels_from_.resize(lowered.ranks.size());
  for (const std::vector<int>& ranks : lowered.ranks_of_stage()) {
    std::vector<int>& of_stage = replicas_of_.emplace_back();
    for (const int rank : ranks) {
      of_stage.push_back(static_cast<int>(replicas_.size()));
      of_rank_[static_cast<std::size_t>(rank)].push_back(static_cast<int>(replicas_.size()));
      replicas_.push_back({stages() - 1, rank});
    }
  }
  for (Replica& of : replicas_) {
    of.below = of.stage > 0 ? replica(of.stage - 1, of.rank) : -1;
    of.above = of.stage + 1 < stages() ? replica(of.stage + 1, of.rank) : -1;
  }
  lanes_of_.resize(replicas_.size());
  awaited_forward_.assign(replicas_.size() * micro_batches_, 0);
  awaited_backward_ = awaited_forward_;
  std::size_t actions = 0;
  for (const std::vector<Action>& row : lowered.ranks) actions += row.size();
  steps_.reserve(actions);
  for (int rank = 0; rank < lowered.rank_count(); ++rank) {
    row_begin_.push_back(steps_.size());
    bool norm = false;
    for (const Action& action : lowered.ranks[static_cast<std::size_t>(rank)]) {
      norm = norm || action.op == Op::Norm;
      for (const Action& part : action.parts) {
        add(rank, part, &part != &action.parts.back());
      }
      if (action.op != Op::OverlapForwardBackward) {
        add(rank, action, false);
      }
    }
    norm_ranks_ += norm ? 1 : 0;
  }
  row_begin_.push_back(steps_.size());
  for (Channel& of : channels_) {
    of.first_message = messages_;
    messages_ += std::max(of.sends, of.receives);
  }
  count_awaited();
}

void Program::add(int rank, const Action& action, bool joined) {
  Step step{action.op, joined, 0, action.micro_batch};
  switch (action.op) {
    case Op::Idle:
    case Op::Unshard:
    case Op::Reshard:
      return;
    case Op::Norm:
      break;
    case Op::SendForward:
    case Op::SendBackward:
      step.where = lane(action, rank);
      ++channels_[static_cast<std::size_t>(lanes_[static_cast<std::size_t>(step.where)].channel)].sends;
      break;
    case Op::ReceiveForward:
    case Op::ReceiveBackward: {
      step.where = lane(action, rank);
      const Lane& of = lanes_[static_cast<std::size_t>(step.where)];
      ++channels_[static_cast<std::size_t>(of.channel)].receives;
      ++(of.forward ? awaited_forward_ : awaited_backward_)[static_cast<std::size_t>(of.to) * micro_batches_ +
                                                            static_cast<std::size_t>(action.micro_batch)];
      break;
    }
    default:
      step.where = replica(action.stage, rank);
      if (step.where < 0) {
        throw InputError::of("schedule: {} stands on rank {}, which has no such stage", to_string(action), rank);
      }
      Replica& of = replicas_[static_cast<std::size_t>(step.where)];
      of.recomputes = of.recomputes || action.op == Op::Recompute;
      of.sums = of.sums || action.op == Op::ReduceGradient;
  }
  steps_.push_back(step);
}

/// -1 where the rank does not compute the stage.
int Program::replica(int stage, int rank) const {
  for (const int index : of_rank_[static_cast<std::size_t>(rank)]) {
    if (replicas_[static_cast<std::size_t>(index)].stage == stage) {
      return index;
    }
  }
  return -1;
}

/// The replica at the other end of a transfer.
int Program::other_end(const Action& action, int rank) const {
  const bool up = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
  const int next = action.stage + (up ? 1 : -1);
  if (next >= 0 && next < stages() && action.peer < static_cast<int>(of_rank_.size())) {
    if (action.peer >= 0) {
      if (const int found = replica(next, action.peer); found >= 0) {
        return found;
      }
    } else if (replicas_of(next).size() == 1) {
      return replicas_of(next).front();
    }
  }
  throw InputError::of("schedule: {} on rank {} has no other end", to_string(action), rank);
}

int Program::lane(const Action& action, int rank) {
  const int here = replica(action.stage, rank);
  if (here < 0) {
    throw InputError::of("schedule: {} stands on rank {}, which has no such stage", to_string(action), rank);
  }
  const int there = other_end(action, rank);
  const bool forward = action.op == Op::SendForward || action.op == Op::ReceiveForward;
  const bool sends = is_send(action.op);
  const int from = sends ? here : there;
  const int to = sends ? there : here;
  for (const int index : lanes_of_[static_cast<std::size_t>(from)]) {
    const Lane& known = lanes_[static_cast<std::size_t>(index)];
    if (known.to == to && known.forward == forward && known.send.sample_begin == action.sample_begin &&
        known.send.sample_end == action.sample_end) {
      return index;
    }
  }
  const Replica& sender = replicas_[static_cast<std::size_t>(from)];
  const Replica& receiver = replicas_[static_cast<std::size_t>(to)];
  Action send = action;
  send.op = forward ? Op::SendForward : Op::SendBackward;
  send.stage = sender.stage;
  send.micro_batch = 0;
  send.peer = action.peer >= 0 ? receiver.rank : -1;
  lanes_.push_back({from, to, channel(sender.rank, receiver.rank), forward, send});
  lanes_of_[static_cast<std::size_t>(from)].push_back(static_cast<int>(lanes_.size()) - 1);
  return static_cast<int>(lanes_.size()) - 1;
}

int Program::channel(int from, int to) {
  for (const int index : channels_from_[static_cast<std::size_t>(from)]) {
    if (channels_[static_cast<std::size_t>(index)].to == to) {
      return index;
    }
  }
  channels_.push_back({from, to});
  channels_from_[static_cast<std::size_t>(from)].push_back(static_cast<int>(channels_.size()) - 1);
  return static_cast<int>(channels_.size()) - 1;
}

/// Beside messages, what comes from a neighbour on the same rank, or from all of them in a schedule without transfers.
void Program::count_awaited() {
  const auto count = [&](std::vector<std::uint16_t>& awaited, std::size_t index, int neighbour, int local) {
    if (neighbour < 0 || neighbour >= stages()) {
      return;
    }
    for (std::size_t m = 0; m < micro_batches_; ++m) {
      std::uint16_t& of = awaited[index * micro_batches_ + m];
      if (!has_transfers()) {
        of = static_cast<std::uint16_t>(replicas_of(neighbour).size());
      } else if (local >= 0) {
        ++of;
      } else if (of == 0) {
        of = 1;  // never comes: the replay names it
      }
    }
  };
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    count(awaited_forward_, i, replicas_[i].stage - 1, replicas_[i].below);
    count(awaited_backward_, i, replicas_[i].stage + 1, replicas_[i].above);
  }
}

Action Program::action(std::span<const Step> steps) const {
  const Step& step = steps.front();
  if (is_send(step.op) || is_receive(step.op)) {
    const Lane& of = lanes_[static_cast<std::size_t>(step.where)];
    Action transfer = of.send;
    transfer.op = step.op;
    transfer.micro_batch = step.micro_batch;
    if (is_receive(step.op)) {
      transfer.stage = replicas_[static_cast<std::size_t>(of.to)].stage;
      transfer.peer = transfer.peer >= 0 ? replicas_[static_cast<std::size_t>(of.from)].rank : -1;
    }
    return transfer;
  }
  const auto single = [this](const Step& of) {
    return Action{of.op, of.op == Op::Norm ? 0 : replicas_[static_cast<std::size_t>(of.where)].stage, of.micro_batch};
  };
  if (!step.joined) {
    return single(step);
  }
  Action overlap = single(step);
  overlap.parts = {overlap, single(steps[1])};
  overlap.op = Op::OverlapForwardBackward;
  return overlap;
}

}  // namespace motley

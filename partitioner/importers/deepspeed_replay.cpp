#include "motley/partitioner/importers/deepspeed_replay.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr double kNotYet = -1.0;

struct Pass {
  bool forward = true;
  int micro_batch = 0;
};

/// One end of a message. An activation and the gradient that answers it have the micro-batch in common.
struct MessageEnd {
  bool gradient = false;
  int boundary = 0;  // between stages `boundary` and `boundary + 1`
  int micro_batch = 0;
  int after_pass = 0;  // passes the rank has to have done before it comes to this message
};

struct Rank {
  std::vector<Pass> passes;
  std::vector<double> pass_end;  // of the passes done
  std::vector<MessageEnd> ends;
  std::size_t next_end = 0;
  double stream_free = 0.0;
};

/// DeepSpeed's TrainSchedule: forward and backward steps take turns, those without a micro-batch are idle. A step
/// exchanges what it needs and what the step before it made, then computes.
Rank rank_of_stage(int stage, int stages, int micro_batches) {
  const bool has_previous = stage > 0;
  const bool has_next = stage + 1 < stages;
  const int first_backward = 2 * stages - 1 - stage;
  Rank rank;
  int previous = -1;
  for (int step = 0; step < 2 * (micro_batches + stages - 1); ++step) {
    const bool forward = step % 2 == stage % 2;
    const int offset = step - (forward ? stage : first_backward);
    const int micro_batch = offset >= 0 && offset / 2 < micro_batches ? offset / 2 : -1;
    const auto done = static_cast<int>(rank.passes.size());
    if (forward && has_previous) {
      if (previous >= 0) {
        rank.ends.push_back({true, stage - 1, previous, done});
      }
      if (micro_batch >= 0) {
        rank.ends.push_back({false, stage - 1, micro_batch, done});
      }
    } else if (!forward && has_next) {
      if (micro_batch >= 0) {
        rank.ends.push_back({true, stage, micro_batch, done});
      }
      if (previous >= 0) {
        rank.ends.push_back({false, stage, previous, done});
      }
    }
    if (micro_batch >= 0) {
      rank.passes.push_back({forward, micro_batch});
    }
    previous = micro_batch;
  }
  return rank;
}

/// When the rank comes to the next end of its stream; kNotYet before it has done the passes ahead of it.
double reached(const Rank& rank) {
  const auto after = static_cast<std::size_t>(rank.ends[rank.next_end].after_pass);
  if (after > rank.pass_end.size()) {
    return kNotYet;
  }
  return std::max(rank.stream_free, after == 0 ? 0.0 : rank.pass_end[after - 1]);
}

}  // namespace

Seconds deepspeed_iteration(std::span<const StagePasses> stages, std::span<const Seconds> messages, int micro_batches) {
  MOTLEY_CHECK(!stages.empty() && messages.size() + 1 == stages.size() && micro_batches > 0,
               "{} stages, {} boundaries, {} micro-batches", stages.size(), messages.size(), micro_batches);
  const auto count = stages.size();
  const auto width = static_cast<std::size_t>(micro_batches);
  std::vector<Rank> ranks(count);
  for (std::size_t s = 0; s < count; ++s) {
    ranks[s] = rank_of_stage(static_cast<int>(s), static_cast<int>(count), micro_batches);
  }
  std::vector<double> activation_arrival(messages.size() * width, kNotYet);  // [boundary][micro-batch]
  std::vector<double> gradient_arrival(messages.size() * width, kNotYet);

  const auto compute = [&](std::size_t s) {
    Rank& rank = ranks[s];
    bool moved = false;
    while (rank.pass_end.size() < rank.passes.size()) {
      const Pass pass = rank.passes[rank.pass_end.size()];
      double start = rank.pass_end.empty() ? 0.0 : rank.pass_end.back();
      const bool needs_message = pass.forward ? s > 0 : s + 1 < count;
      if (needs_message) {
        const std::size_t boundary = pass.forward ? s - 1 : s;
        const double arrival =
            (pass.forward ? activation_arrival
                          : gradient_arrival)[boundary * width + static_cast<std::size_t>(pass.micro_batch)];
        if (arrival == kNotYet) {
          break;
        }
        start = std::max(start, arrival);
      }
      rank.pass_end.push_back(start + (pass.forward ? stages[s].forward : stages[s].backward).value);
      moved = true;
    }
    return moved;
  };
  const auto exchange = [&](std::size_t boundary) {
    Rank& left = ranks[boundary];
    Rank& right = ranks[boundary + 1];
    bool moved = false;
    while (left.next_end < left.ends.size() && right.next_end < right.ends.size()) {
      const MessageEnd& a = left.ends[left.next_end];
      const MessageEnd& b = right.ends[right.next_end];
      if (a.boundary != b.boundary || a.gradient != b.gradient || a.micro_batch != b.micro_batch ||
          reached(left) == kNotYet || reached(right) == kNotYet) {
        break;
      }
      const double end = std::max(reached(left), reached(right)) + messages[boundary].value;
      (a.gradient ? gradient_arrival : activation_arrival)[boundary * width + static_cast<std::size_t>(a.micro_batch)] =
          end;
      left.stream_free = right.stream_free = end;
      ++left.next_end;
      ++right.next_end;
      moved = true;
    }
    return moved;
  };

  bool moved = true;
  while (moved) {
    moved = false;
    for (std::size_t s = 0; s < count; ++s) {
      moved |= compute(s);
    }
    for (std::size_t boundary = 0; boundary < messages.size(); ++boundary) {
      moved |= exchange(boundary);
    }
  }
  double last = 0.0;
  for (const Rank& rank : ranks) {
    MOTLEY_CHECK(rank.pass_end.size() == rank.passes.size(), "the replay stands still");
    last = std::max(last, rank.pass_end.back());
  }
  return {last};
}

}  // namespace motley

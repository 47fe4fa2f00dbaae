#include <algorithm>
#include <array>
#include <map>

#include "motley/base/error.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

struct Message {
  Action receive;
  std::size_t consumer = 0;  // column of the receiver's row
};

/// The parts that really compute: an overlap's two, or the action itself.
std::vector<Action> parts_of(const Action& action) {
  return action.op == Op::OverlapForwardBackward ? action.parts : std::vector<Action>{action};
}

constexpr int kForward = 0;
constexpr int kBackward = 1;

}  // namespace

Schedule add_transfers(const Schedule& compute, int receive_ahead) {
  if (receive_ahead < 1) {
    throw InputError::of("schedule: receive_ahead is {}, expected at least 1", receive_ahead);
  }
  const std::vector<int> owners = compute.rank_of_stage();
  const int stages = static_cast<int>(owners.size());
  const int micro_batches = compute.micro_batch_count();

  // Where the forward and the backward of each (stage, micro-batch) stand.
  constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
  std::array<std::vector<std::size_t>, 2> column;
  for (auto& table : column) {
    table.assign(static_cast<std::size_t>(stages) * static_cast<std::size_t>(std::max(micro_batches, 1)), kNowhere);
  }
  const auto cell = [&](int stage, int micro_batch) {
    return static_cast<std::size_t>(stage) * static_cast<std::size_t>(micro_batches) +
           static_cast<std::size_t>(micro_batch);
  };
  for (const std::vector<Action>& row : compute.ranks) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (is_send(row[i].op) || is_receive(row[i].op)) {
        throw InputError::of("schedule: has {} already, expected compute actions only", to_string(row[i]));
      }
      for (const Action& part : parts_of(row[i])) {
        if (part.op == Op::Forward) {
          column[kForward][cell(part.stage, part.micro_batch)] = i;
        } else if (part.op == Op::Backward || part.op == Op::BackwardInput) {
          column[kBackward][cell(part.stage, part.micro_batch)] = i;
        }
      }
    }
  }

  std::map<std::pair<int, int>, std::vector<Message>> channels;  // (from, to), in the sender's order
  std::vector<std::vector<std::vector<Action>>> sends(compute.ranks.size());
  for (std::size_t rank = 0; rank < compute.ranks.size(); ++rank) {
    sends[rank].resize(compute.ranks[rank].size());
    for (std::size_t i = 0; i < compute.ranks[rank].size(); ++i) {
      for (const Action& part : parts_of(compute.ranks[rank][i])) {
        const bool forward = part.op == Op::Forward;
        if (!forward && part.op != Op::Backward && part.op != Op::BackwardInput) {
          continue;
        }
        const int next = part.stage + (forward ? 1 : -1);
        if (next < 0 || next >= stages || owners[static_cast<std::size_t>(next)] == static_cast<int>(rank)) {
          continue;
        }
        const std::size_t consumer = column[forward ? kForward : kBackward][cell(next, part.micro_batch)];
        if (consumer == kNowhere) {
          throw InputError::of("schedule: {} has no counterpart on stage {}", to_string(part), next);
        }
        sends[rank][i].push_back({forward ? Op::SendForward : Op::SendBackward, part.stage, part.micro_batch});
        channels[{static_cast<int>(rank), owners[static_cast<std::size_t>(next)]}].push_back(
            {{forward ? Op::ReceiveForward : Op::ReceiveBackward, next, part.micro_batch}, consumer});
      }
    }
  }

  // receives[rank][i]: posted before column i, after everything of column i - 1 but its sends.
  std::vector<std::vector<std::vector<Action>>> receives(compute.ranks.size());
  for (std::size_t rank = 0; rank < compute.ranks.size(); ++rank) {
    receives[rank].resize(compute.ranks[rank].size() + 1);
  }
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
      receives[static_cast<std::size_t>(ends.second)][position].push_back(messages[k].receive);
    }
  }

  Schedule lowered;
  for (std::size_t rank = 0; rank < compute.ranks.size(); ++rank) {
    std::vector<Action>& row = lowered.ranks.emplace_back();
    const std::vector<Action>& actions = compute.ranks[rank];
    row.insert(row.end(), receives[rank][0].begin(), receives[rank][0].end());
    for (std::size_t i = 0; i < actions.size(); ++i) {
      if (actions[i].op != Op::Idle) {
        row.push_back(actions[i]);
      }
      row.insert(row.end(), receives[rank][i + 1].begin(), receives[rank][i + 1].end());
      row.insert(row.end(), sends[rank][i].begin(), sends[rank][i].end());
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

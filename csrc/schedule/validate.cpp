#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "motley/base/error.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

using Kind = Problem::Kind;
using Place = std::pair<std::size_t, std::size_t>;  // rank, column
using Name = std::tuple<Op, int, int>;              // op, stage, micro-batch

class Validator {
 public:
  Validator(const Schedule& schedule, const ValidationOptions& options) : schedule_(schedule), options_(options) {}

  std::vector<Problem> run() {
    try {
      owners_ = schedule_.rank_of_stage();
    } catch (const InputError& error) {
      report(Kind::Missing, error.what());
      return problems_;
    }
    collect();
    check_presence();
    check_order();
    check_transfers();
    if (problems_.empty() ||
        std::all_of(problems_.begin(), problems_.end(), [](const Problem& p) { return p.kind == Kind::WeightOrder; })) {
      check_progress();
    }
    return problems_;
  }

 private:
  void report(Kind kind, std::string message) { problems_.push_back({kind, std::move(message)}); }

  void note(const Action& action, Place place) {
    if (action.op == Op::Idle || action.micro_batch < 0) {
      return;
    }
    const Name name{action.op, action.stage, action.micro_batch};
    if (!where_.emplace(name, place).second) {
      report(Kind::Doubled, fmt::format("{} stands twice", to_string(action)));
    }
    transfers_ = transfers_ || is_send(action.op) || is_receive(action.op);
    backward_ = backward_ || action.op == Op::Backward || action.op == Op::BackwardInput;
  }

  void collect() {
    for (std::size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
      for (std::size_t column = 0; column < schedule_.ranks[rank].size(); ++column) {
        const Action& action = schedule_.ranks[rank][column];
        if (action.op == Op::OverlapForwardBackward) {
          for (const Action& part : action.parts) {
            note(part, {rank, column});
          }
        } else {
          note(action, {rank, column});
        }
      }
    }
  }

  [[nodiscard]] const Place* find(Op op, int stage, int micro_batch) const {
    const auto found = where_.find({op, stage, micro_batch});
    return found == where_.end() ? nullptr : &found->second;
  }

  void check_presence() {
    for (int stage = 0; stage < static_cast<int>(owners_.size()); ++stage) {
      for (int m = 0; m < schedule_.micro_batch_count(); ++m) {
        if (find(Op::Forward, stage, m) == nullptr) {
          report(Kind::Missing, fmt::format("{}F{} is missing", stage, m));
        }
        if (!backward_) {
          continue;
        }
        const bool whole = find(Op::Backward, stage, m) != nullptr;
        const bool input = find(Op::BackwardInput, stage, m) != nullptr;
        const bool weight = find(Op::BackwardWeight, stage, m) != nullptr;
        if (whole && (input || weight)) {
          report(Kind::Doubled, fmt::format("{0}B{1} stands beside {0}I{1} or {0}W{1}", stage, m));
        } else if (!whole && !(input && weight)) {
          report(Kind::Missing, fmt::format("{}{}{} is missing", stage, input ? "W" : weight ? "I" : "B", m));
        }
      }
    }
  }

  void before(Op first, Op second, int stage, int micro_batch) {
    const Place* a = find(first, stage, micro_batch);
    const Place* b = find(second, stage, micro_batch);
    if (a != nullptr && b != nullptr && a->first == b->first && a->second >= b->second) {
      report(Kind::Misordered, fmt::format("{} stands before {}", to_string({second, stage, micro_batch}),
                                           to_string({first, stage, micro_batch})));
    }
  }

  void check_order() {
    for (int stage = 0; stage < static_cast<int>(owners_.size()); ++stage) {
      const Place* last = nullptr;
      for (int m = 0; m < schedule_.micro_batch_count(); ++m) {
        before(Op::Forward, Op::Backward, stage, m);
        before(Op::Forward, Op::BackwardInput, stage, m);
        before(Op::BackwardInput, Op::BackwardWeight, stage, m);
        const Place* whole = find(Op::Backward, stage, m);
        const Place* weight = whole != nullptr ? whole : find(Op::BackwardWeight, stage, m);
        if (weight != nullptr && last != nullptr && weight->second < last->second) {
          report(Kind::WeightOrder,
                 fmt::format("stage {}: weight gradients of micro-batch {} come before those of {}", stage, m, m - 1));
        }
        last = weight != nullptr ? weight : last;
      }
    }
  }

  /// What the other end of a transfer is called.
  static Action counterpart(const Action& action) {
    switch (action.op) {
      case Op::SendForward:
        return {Op::ReceiveForward, action.stage + 1, action.micro_batch};
      case Op::ReceiveForward:
        return {Op::SendForward, action.stage - 1, action.micro_batch};
      case Op::SendBackward:
        return {Op::ReceiveBackward, action.stage - 1, action.micro_batch};
      default:
        return {Op::SendBackward, action.stage + 1, action.micro_batch};
    }
  }

  void check_transfers() {
    if (!transfers_) {
      return;
    }
    std::map<std::pair<int, int>, std::vector<Action>> sent;      // (from, to): as the receiver names them
    std::map<std::pair<int, int>, std::vector<Action>> received;  // (from, to)
    for (std::size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
      for (const Action& action : schedule_.ranks[rank]) {
        if (!is_send(action.op) && !is_receive(action.op)) {
          continue;
        }
        const Action other = counterpart(action);
        if (find(other.op, other.stage, other.micro_batch) == nullptr) {
          report(Kind::Unmatched, fmt::format("{} on rank {} has no {}", to_string(action), rank, to_string(other)));
          continue;
        }
        const int peer = owners_[static_cast<std::size_t>(other.stage)];
        if (is_send(action.op)) {
          sent[{static_cast<int>(rank), peer}].push_back(other);
        } else {
          received[{peer, static_cast<int>(rank)}].push_back(action);
        }
      }
    }
    for (const auto& [ends, messages] : sent) {
      const std::vector<Action>& arrivals = received[ends];
      for (std::size_t k = 0; k < std::min(messages.size(), arrivals.size()); ++k) {
        if (!(messages[k].op == arrivals[k].op && messages[k].stage == arrivals[k].stage &&
              messages[k].micro_batch == arrivals[k].micro_batch)) {
          report(Kind::Misordered,
                 fmt::format("message {} from rank {} to rank {} is sent for {} and received as {}", k, ends.first,
                             ends.second, to_string(messages[k]), to_string(arrivals[k])));
          break;
        }
      }
    }
    for (int stage = 0; stage + 1 < static_cast<int>(owners_.size()); ++stage) {
      if (owners_[static_cast<std::size_t>(stage)] == owners_[static_cast<std::size_t>(stage) + 1]) {
        continue;
      }
      for (int m = 0; m < schedule_.micro_batch_count(); ++m) {
        if (find(Op::SendForward, stage, m) == nullptr) {
          report(Kind::Unmatched, fmt::format("{}SEND_F{} is missing", stage, m));
        }
        if (backward_ && find(Op::SendBackward, stage + 1, m) == nullptr) {
          report(Kind::Unmatched, fmt::format("{}SEND_B{} is missing", stage + 1, m));
        }
      }
    }
    check_use_of_transfers();
  }

  /// Data is sent after it was made, and its receive is posted before it is needed.
  void check_use_of_transfers() {
    const auto backward = [&](int stage, int m) {
      const Place* whole = find(Op::Backward, stage, m);
      return whole != nullptr ? whole : find(Op::BackwardInput, stage, m);
    };
    for (const auto& [name, place] : where_) {
      const auto& [op, stage, m] = name;
      const Place* other = nullptr;
      if (op == Op::SendForward || op == Op::ReceiveForward) {
        other = find(Op::Forward, stage, m);
      } else if (op == Op::SendBackward || op == Op::ReceiveBackward) {
        other = backward(stage, m);
      }
      if (other == nullptr || other->first != place.first) {
        continue;
      }
      if (is_send(op) ? place.second < other->second : place.second > other->second) {
        report(Kind::Misordered,
               fmt::format("{} stands {} its compute", to_string({op, stage, m}), is_send(op) ? "before" : "after"));
      }
    }
  }

  [[nodiscard]] bool reached(const Action& action) const {
    const Place* place = find(action.op, action.stage, action.micro_batch);
    return place != nullptr && at_[place->first] >= place->second;
  }

  [[nodiscard]] bool passed(Op op, int stage, int micro_batch) const {
    const Place* place = find(op, stage, micro_batch);
    return place != nullptr && at_[place->first] > place->second;
  }

  /// What `action` still waits for; "" if nothing.
  [[nodiscard]] std::string obstacle(const Action& action, std::size_t rank) const {
    const int last = static_cast<int>(owners_.size()) - 1;
    const auto remote = [&](int stage) { return owners_[static_cast<std::size_t>(stage)] != static_cast<int>(rank); };
    switch (action.op) {
      case Op::SendForward:
      case Op::SendBackward:
        return options_.sends_wait && !reached(counterpart(action)) ? to_string(counterpart(action)) : "";
      case Op::ReceiveForward:
      case Op::ReceiveBackward:
        return options_.receives_wait && !reached(counterpart(action)) ? to_string(counterpart(action)) : "";
      case Op::Forward:
        if (action.stage == 0) {
          return "";
        }
        if (transfers_ && remote(action.stage - 1)) {
          const Action send{Op::SendForward, action.stage - 1, action.micro_batch};
          return reached(send) ? "" : to_string(send);
        }
        return passed(Op::Forward, action.stage - 1, action.micro_batch)
                   ? ""
                   : to_string({Op::Forward, action.stage - 1, action.micro_batch});
      case Op::Backward:
      case Op::BackwardInput:
        if (action.stage == last) {
          return "";
        }
        if (transfers_ && remote(action.stage + 1)) {
          const Action send{Op::SendBackward, action.stage + 1, action.micro_batch};
          return reached(send) ? "" : to_string(send);
        }
        return passed(Op::Backward, action.stage + 1, action.micro_batch) ||
                       passed(Op::BackwardInput, action.stage + 1, action.micro_batch)
                   ? ""
                   : to_string({Op::Backward, action.stage + 1, action.micro_batch});
      case Op::OverlapForwardBackward:
        for (const Action& part : action.parts) {
          if (std::string wait = obstacle(part, rank); !wait.empty()) {
            return wait;
          }
        }
        return "";
      default:
        return "";
    }
  }

  void check_progress() {
    at_.assign(schedule_.ranks.size(), 0);
    bool moved = true;
    while (moved) {
      moved = false;
      for (std::size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
        const std::vector<Action>& row = schedule_.ranks[rank];
        while (at_[rank] < row.size() && obstacle(row[at_[rank]], rank).empty()) {
          ++at_[rank];
          moved = true;
        }
      }
    }
    std::string stuck;
    for (std::size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
      const std::vector<Action>& row = schedule_.ranks[rank];
      if (at_[rank] < row.size()) {
        stuck += fmt::format("{}rank {} at {} waits for {}", stuck.empty() ? "" : "; ", rank, to_string(row[at_[rank]]),
                             obstacle(row[at_[rank]], rank));
      }
    }
    if (!stuck.empty()) {
      report(Kind::Deadlock, "deadlock: " + stuck);
    }
  }

  const Schedule& schedule_;
  const ValidationOptions& options_;
  std::vector<int> owners_;
  std::map<Name, Place> where_;
  bool transfers_ = false;
  bool backward_ = false;
  std::vector<std::size_t> at_;
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> validate(const Schedule& schedule, const ValidationOptions& options) {
  return Validator(schedule, options).run();
}

}  // namespace motley

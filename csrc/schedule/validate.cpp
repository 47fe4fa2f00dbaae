#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "motley/base/error.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

using Kind = Problem::Kind;
/// What stands once: a pass of a micro-batch on a rank of its stage; a message by its first sample as well.
using Name = std::tuple<Op, int, int, int, std::int64_t>;  // op, stage, micro-batch, rank, first sample
using Interval = std::pair<std::int64_t, std::int64_t>;

struct Place {
  std::size_t rank;
  std::size_t column;
  const Action* action;
};

class Validator {
 public:
  Validator(const Schedule& schedule, const ValidationOptions& options)
      : schedule_(schedule), options_(options), micro_batches_(schedule.micro_batch_count()) {}

  std::vector<Problem> run() {
    try {
      ranks_of_ = schedule_.ranks_of_stage();
    } catch (const InputError& error) {
      report(Kind::Missing, error.what());
      return problems_;
    }
    collect();
    for_each_replica([&](int stage, int rank) {
      check_presence(stage, rank);
      check_order(stage, rank);
      check_reduce(stage, rank);
    });
    if (transfers_) {
      check_pairs();
      check_completeness();
      check_use_of_transfers();
    }
    if (std::all_of(problems_.begin(), problems_.end(), [](const Problem& p) { return p.kind == Kind::WeightOrder; })) {
      check_progress();
    }
    return problems_;
  }

 private:
  void report(Kind kind, std::string message) { problems_.push_back({kind, std::move(message)}); }

  [[nodiscard]] const std::vector<int>& ranks_of(int stage) const { return ranks_of_[static_cast<std::size_t>(stage)]; }
  [[nodiscard]] int stages() const { return static_cast<int>(ranks_of_.size()); }
  [[nodiscard]] bool is_on(int stage, int rank) const {
    return std::binary_search(ranks_of(stage).begin(), ranks_of(stage).end(), rank);
  }
  /// "" for a stage on one rank.
  [[nodiscard]] std::string on(int stage, int rank) const {
    return ranks_of(stage).size() > 1 ? fmt::format(" on rank {}", rank) : "";
  }

  template <typename Visit>
  void for_each_replica(Visit&& visit) {
    for (int stage = 0; stage < stages(); ++stage) {
      for (const int rank : ranks_of(stage)) {
        visit(stage, rank);
      }
    }
  }

  void note(const Action& action, std::size_t rank, std::size_t column) {
    if (action.op == Op::Idle || (action.micro_batch < 0 && action.op != Op::ReduceGradient)) {
      updates_ = updates_ || action.op == Op::Update;
      return;
    }
    const Name name{action.op, action.stage, action.micro_batch, static_cast<int>(rank), action.sample_begin};
    if (!where_.emplace(name, Place{rank, column, &action}).second) {
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
            note(part, rank, column);
          }
        } else {
          note(action, rank, column);
        }
      }
    }
  }

  [[nodiscard]] const Place* find(Op op, int stage, int micro_batch, int rank, std::int64_t sample = 0) const {
    const auto found = where_.find({op, stage, micro_batch, rank, sample});
    return found == where_.end() ? nullptr : &found->second;
  }

  /// B, or I where they are apart.
  [[nodiscard]] const Place* backward(int stage, int micro_batch, int rank) const {
    const Place* whole = find(Op::Backward, stage, micro_batch, rank);
    return whole != nullptr ? whole : find(Op::BackwardInput, stage, micro_batch, rank);
  }

  void check_presence(int stage, int rank) {
    int recomputed = 0;
    for (int m = 0; m < micro_batches_; ++m) {
      if (find(Op::Forward, stage, m, rank) == nullptr) {
        report(Kind::Missing, fmt::format("{}F{} is missing{}", stage, m, on(stage, rank)));
      }
      if (!backward_) {
        continue;
      }
      const bool whole = find(Op::Backward, stage, m, rank) != nullptr;
      const bool input = find(Op::BackwardInput, stage, m, rank) != nullptr;
      const bool weight = find(Op::BackwardWeight, stage, m, rank) != nullptr;
      if (whole && (input || weight)) {
        report(Kind::Doubled, fmt::format("{0}B{1} stands beside {0}I{1} or {0}W{1}", stage, m));
      } else if (!whole && !(input && weight)) {
        report(Kind::Missing, fmt::format("{}{}{} is missing{}", stage,
                                          input    ? "W"
                                          : weight ? "I"
                                                   : "B",
                                          m, on(stage, rank)));
      }
      recomputed += find(Op::Recompute, stage, m, rank) != nullptr ? 1 : 0;
      if (recomputed != 0 && recomputed != m + 1) {
        report(Kind::Missing, fmt::format("stage {} recomputes some micro-batches and not {}{}", stage,
                                          find(Op::Recompute, stage, m, rank) == nullptr ? m : m - 1, on(stage, rank)));
        recomputed = 0;
      }
    }
  }

  void before(Op first, Op second, int stage, int micro_batch, int rank) {
    const Place* a = find(first, stage, micro_batch, rank);
    const Place* b = find(second, stage, micro_batch, rank);
    if (a != nullptr && b != nullptr && a->column >= b->column) {
      report(Kind::Misordered, fmt::format("{} stands before {}", to_string({second, stage, micro_batch}),
                                           to_string({first, stage, micro_batch})));
    }
  }

  void check_order(int stage, int rank) {
    const Place* last = nullptr;
    for (int m = 0; m < micro_batches_; ++m) {
      before(Op::Forward, Op::Backward, stage, m, rank);
      before(Op::Forward, Op::BackwardInput, stage, m, rank);
      before(Op::Forward, Op::Recompute, stage, m, rank);
      before(Op::Recompute, Op::Backward, stage, m, rank);
      before(Op::Recompute, Op::BackwardInput, stage, m, rank);
      before(Op::BackwardInput, Op::BackwardWeight, stage, m, rank);
      const Place* whole = find(Op::Backward, stage, m, rank);
      const Place* weight = whole != nullptr ? whole : find(Op::BackwardWeight, stage, m, rank);
      if (weight != nullptr && last != nullptr && weight->column < last->column) {
        report(Kind::WeightOrder,
               fmt::format("stage {}: weight gradients of micro-batch {} come before those of {}", stage, m, m - 1));
      }
      last = weight != nullptr ? weight : last;
    }
  }

  /// A replica's gradients are summed after its own are complete and before anyone uses them.
  void check_reduce(int stage, int rank) {
    const Place* reduce = find(Op::ReduceGradient, stage, -1, rank);
    if (reduce == nullptr) {
      if (updates_ && ranks_of(stage).size() > 1) {
        report(Kind::Missing, fmt::format("{}REDUCE_GRAD is missing on rank {}", stage, rank));
      }
      return;
    }
    const std::vector<Action>& row = schedule_.ranks[static_cast<std::size_t>(rank)];
    for (std::size_t column = 0; column < row.size(); ++column) {
      const Action& action = row[column];
      const bool early =
          (action.op == Op::Norm || (action.op == Op::Update && action.stage == stage)) && column < reduce->column;
      const bool late = (action.op == Op::Backward || action.op == Op::BackwardWeight) && action.stage == stage &&
                        column > reduce->column;
      if (early || late) {
        report(Kind::Misordered, fmt::format("{} stands {} {} on rank {}", to_string(*reduce->action),
                                             early ? "after" : "before", to_string(action), rank));
        return;
      }
    }
  }

  struct End {
    int rank;
    Action action;
  };

  /// The other end of a transfer on `rank`: none where the peer does not follow from the stage.
  [[nodiscard]] std::optional<End> counterpart(const Action& action, int rank) const {
    const bool up = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
    Action other = action;
    other.stage = action.stage + (up ? 1 : -1);
    other.op = action.op == Op::SendForward      ? Op::ReceiveForward
               : action.op == Op::ReceiveForward ? Op::SendForward
               : action.op == Op::SendBackward   ? Op::ReceiveBackward
                                                 : Op::SendBackward;
    other.peer = action.peer >= 0 ? rank : -1;
    if (other.stage < 0 || other.stage >= stages()) {
      return End{-1, other};
    }
    if (action.peer >= 0) {
      return End{action.peer, other};
    }
    return ranks_of(other.stage).size() == 1 ? std::optional(End{ranks_of(other.stage).front(), other}) : std::nullopt;
  }

  [[nodiscard]] const Place* find_other_end(const End& end) const {
    const Place* place =
        find(end.action.op, end.action.stage, end.action.micro_batch, end.rank, end.action.sample_begin);
    return place != nullptr && *place->action == end.action ? place : nullptr;
  }

  /// Every SEND has its RECV and the other way round, in the same order on both ends of a channel.
  void check_pairs() {
    std::map<std::pair<int, int>, std::vector<Action>> sent;      // (from, to): as the receiver names them
    std::map<std::pair<int, int>, std::vector<Action>> received;  // (from, to)
    for (int rank = 0; rank < schedule_.rank_count(); ++rank) {
      for (const Action& action : schedule_.ranks[static_cast<std::size_t>(rank)]) {
        if (!is_send(action.op) && !is_receive(action.op)) {
          continue;
        }
        const std::optional<End> other = counterpart(action, rank);
        if (!other) {
          report(Kind::Unmatched,
                 fmt::format("{} on rank {} names no peer, expected @ and a rank", to_string(action), rank));
        } else if (find_other_end(*other) == nullptr) {
          report(Kind::Unmatched,
                 fmt::format("{} on rank {} has no {}", to_string(action), rank, to_string(other->action)));
        } else if (is_send(action.op)) {
          sent[{rank, other->rank}].push_back(other->action);
        } else {
          received[{other->rank, rank}].push_back(action);
        }
      }
    }
    for (const auto& [ends, messages] : sent) {
      const std::vector<Action>& arrivals = received[ends];
      for (std::size_t k = 0; k < std::min(messages.size(), arrivals.size()); ++k) {
        if (messages[k] != arrivals[k]) {
          report(Kind::Misordered,
                 fmt::format("message {} from rank {} to rank {} is sent for {} and received as {}", k, ends.first,
                             ends.second, to_string(messages[k]), to_string(arrivals[k])));
          break;
        }
      }
    }
  }

  /// The samples of the messages of one kind that a replica has for a micro-batch; none where there are gaps.
  [[nodiscard]] std::optional<Interval> samples(Op op, int stage, int m, int rank) const {
    auto place = where_.lower_bound({op, stage, m, rank, 0});
    std::optional<Interval> all;
    for (; place != where_.end(); ++place) {
      const auto& [of_op, of_stage, of_m, of_rank, begin] = place->first;
      if (of_op != op || of_stage != stage || of_m != m || of_rank != rank) {
        break;
      }
      if (all && all->second != begin) {
        return std::nullopt;
      }
      all = Interval{all ? all->first : begin, place->second.action->sample_end};
    }
    return all;
  }

  /// No message is missing: between two single ranks there is one a micro-batch, and a replica has the same samples in
  /// every message set of every micro-batch, which together with those of the others are the whole micro-batch.
  void check_completeness() {
    for (int stage = 0; stage + 1 < stages(); ++stage) {
      if (ranks_of(stage).size() != 1 || ranks_of(stage + 1).size() != 1 || ranks_of(stage) == ranks_of(stage + 1)) {
        continue;
      }
      for (int m = 0; m < micro_batches_; ++m) {
        if (find(Op::SendForward, stage, m, ranks_of(stage).front()) == nullptr) {
          report(Kind::Unmatched, fmt::format("{}SEND_F{} is missing", stage, m));
        }
        if (backward_ && find(Op::SendBackward, stage + 1, m, ranks_of(stage + 1).front()) == nullptr) {
          report(Kind::Unmatched, fmt::format("{}SEND_B{} is missing", stage + 1, m));
        }
      }
    }
    std::int64_t micro_batch_size = 0;
    for (int stage = 0; stage < stages(); ++stage) {
      if (ranks_of(stage).size() == 1) {
        continue;
      }
      std::vector<Interval> shares;
      for (const int rank : ranks_of(stage)) {
        if (const auto share = share_of(stage, rank)) {
          shares.push_back(*share);
        }
      }
      if (shares.size() < ranks_of(stage).size()) {
        continue;  // reported, or only known on a rank that has a neighbouring stage as well
      }
      std::sort(shares.begin(), shares.end());
      std::int64_t next = 0;
      for (const Interval& share : shares) {
        next = share.first == next ? share.second : -1;
      }
      micro_batch_size = micro_batch_size == 0 ? next : micro_batch_size;
      if (next < 0 || next != micro_batch_size) {
        std::vector<std::string> texts;
        for (const Interval& share : shares) texts.push_back(fmt::format("[{}:{}]", share.first, share.second));
        report(Kind::Unmatched, fmt::format("stage {}: replicas own samples {}, expected a whole micro-batch", stage,
                                            fmt::join(texts, " ")));
      }
    }
  }

  /// The samples that a replica owns, by its messages; none where it has none or they disagree, which is reported.
  std::optional<Interval> share_of(int stage, int rank) {
    std::optional<Interval> share;
    for (const Op op : {Op::ReceiveForward, Op::SendForward, Op::ReceiveBackward, Op::SendBackward}) {
      const bool up = op == Op::SendForward || op == Op::ReceiveBackward;
      const int next = stage + (up ? 1 : -1);
      const bool passes = op == Op::ReceiveForward || op == Op::SendForward || backward_;
      if (!passes || next < 0 || next >= stages() || is_on(next, rank)) {
        continue;
      }
      for (int m = 0; m < micro_batches_; ++m) {
        const std::optional<Interval> found = samples(op, stage, m, rank);
        if (!found || (share && *share != *found)) {
          report(Kind::Unmatched,
                 fmt::format("{} on rank {} covers {}, expected {}", to_string({op, stage, m}), rank,
                             found ? fmt::format("[{}:{}]", found->first, found->second) : "no whole interval",
                             share ? fmt::format("[{}:{}]", share->first, share->second) : "the rank's share"));
          return std::nullopt;
        }
        share = found;
      }
    }
    return share;
  }

  /// Data is sent after it was made, and its receive is posted before it is needed.
  void check_use_of_transfers() {
    for (const auto& [name, place] : where_) {
      const auto& [op, stage, m, rank, sample] = name;
      const Place* other = nullptr;
      if (op == Op::SendForward || op == Op::ReceiveForward) {
        other = find(Op::Forward, stage, m, rank);
      } else if (op == Op::SendBackward || op == Op::ReceiveBackward) {
        other = backward(stage, m, rank);
      }
      if (other == nullptr) {
        continue;
      }
      if (is_send(op) ? place.column < other->column : place.column > other->column) {
        report(Kind::Misordered,
               fmt::format("{} stands {} its compute", to_string(*place.action), is_send(op) ? "before" : "after"));
      }
    }
  }

  [[nodiscard]] bool reached(const Place* place) const { return place != nullptr && at_[place->rank] >= place->column; }
  [[nodiscard]] bool passed(const Place* place) const { return place != nullptr && at_[place->rank] > place->column; }

  /// What a pass still waits for from the neighbouring stage `from`; "" if nothing.
  [[nodiscard]] std::string missing_input(Op receive, int stage, int from, int m, int rank) const {
    if (from < 0 || from >= stages()) {
      return "";
    }
    if (transfers_ && !is_on(from, rank)) {
      for (auto place = where_.lower_bound({receive, stage, m, rank, 0}); place != where_.end(); ++place) {
        const auto& [op, of_stage, of_m, of_rank, sample] = place->first;
        if (op != receive || of_stage != stage || of_m != m || of_rank != rank) {
          break;
        }
        const std::optional<End> end = counterpart(*place->second.action, rank);
        if (!reached(find_other_end(*end))) {
          return to_string(end->action);
        }
      }
      return "";
    }
    for (const int other : ranks_of(from)) {
      if (transfers_ && other != rank) {
        continue;
      }
      const Place* made = from < stage ? find(Op::Forward, from, m, other) : backward(from, m, other);
      if (!passed(made)) {
        return to_string({from < stage ? Op::Forward : Op::Backward, from, m});
      }
    }
    return "";
  }

  /// What `action` still waits for; "" if nothing.
  [[nodiscard]] std::string obstacle(const Action& action, int rank) const {
    const auto other_end = [&] {
      const std::optional<End> end = counterpart(action, rank);
      return reached(find_other_end(*end)) ? "" : to_string(end->action);
    };
    switch (action.op) {
      case Op::SendForward:
      case Op::SendBackward:
        return options_.sends_wait ? other_end() : "";
      case Op::ReceiveForward:
      case Op::ReceiveBackward:
        return options_.receives_wait ? other_end() : "";
      case Op::Forward:
        return missing_input(Op::ReceiveForward, action.stage, action.stage - 1, action.micro_batch, rank);
      case Op::Backward:
      case Op::BackwardInput:
        return missing_input(Op::ReceiveBackward, action.stage, action.stage + 1, action.micro_batch, rank);
      case Op::OverlapForwardBackward:
        for (const Action& part : action.parts) {
          if (std::string wait = obstacle(part, rank); !wait.empty()) {
            return wait;
          }
        }
        return "";
      case Op::ReduceGradient:
        for (const int other : ranks_of(action.stage)) {
          if (!reached(find(Op::ReduceGradient, action.stage, -1, other))) {
            return fmt::format("{} of rank {}", to_string(action), other);
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
      for (int rank = 0; rank < schedule_.rank_count(); ++rank) {
        const std::vector<Action>& row = schedule_.ranks[static_cast<std::size_t>(rank)];
        std::size_t& at = at_[static_cast<std::size_t>(rank)];
        while (at < row.size() && obstacle(row[at], rank).empty()) {
          ++at;
          moved = true;
        }
      }
    }
    std::string stuck;
    for (int rank = 0; rank < schedule_.rank_count(); ++rank) {
      const std::vector<Action>& row = schedule_.ranks[static_cast<std::size_t>(rank)];
      if (const std::size_t at = at_[static_cast<std::size_t>(rank)]; at < row.size()) {
        stuck += fmt::format("{}rank {} at {} waits for {}", stuck.empty() ? "" : "; ", rank, to_string(row[at]),
                             obstacle(row[at], rank));
      }
    }
    if (!stuck.empty()) {
      report(Kind::Deadlock, "deadlock: " + stuck);
    }
  }

  const Schedule& schedule_;
  const ValidationOptions& options_;
  int micro_batches_;
  std::vector<std::vector<int>> ranks_of_;
  std::map<Name, Place> where_;
  bool transfers_ = false;
  bool backward_ = false;
  bool updates_ = false;
  std::vector<std::size_t> at_;
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> validate(const Schedule& schedule, const ValidationOptions& options) {
  return Validator(schedule, options).run();
}

}  // namespace motley

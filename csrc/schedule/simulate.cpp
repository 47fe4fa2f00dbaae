#include "motley/schedule/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr double kUnknown = -1.0;

/// A change of a rank's memory at a time; frees come before allocations of the same time.
struct MemoryChange {
  double at_s;
  std::int64_t bytes;
};

struct Message {
  double sent_s = kUnknown;
  double posted_s = kUnknown;
  int stage = 0;  // of the receiver
  int micro_batch = 0;
  bool forward = true;
  Bytes bytes;
};

/// One FIFO between an ordered pair of ranks.
struct Link {
  std::vector<Message> messages;  // in SEND order
  std::size_t sends = 0;
  std::size_t receives = 0;
  std::size_t resolved = 0;
  double free_s = 0.0;
};

class Simulator {
 public:
  Simulator(const Schedule& lowered, const PipelineCosts& costs, const SimulateOptions& options)
      : schedule_(lowered),
        costs_(costs),
        options_(options),
        ranks_(lowered.ranks.size()),
        owners_(lowered.rank_of_stage()),
        micro_batches_(static_cast<std::size_t>(std::max(1, lowered.micro_batch_count()))) {
    if (owners_.size() > costs.stages.size()) {
      throw InputError::of("schedule: names stage {}, costs are known for {} stages", owners_.size() - 1,
                           costs.stages.size());
    }
    const std::size_t cells = owners_.size() * micro_batches_;
    ready_forward_.assign(cells, kUnknown);
    ready_backward_.assign(cells, kUnknown);
    posted_forward_.assign(cells, 0);
    posted_backward_.assign(cells, 0);
    links_.resize(ranks_ * ranks_);
    at_.assign(ranks_, 0);
    clock_.assign(ranks_, 0.0);
    busy_.assign(ranks_, 0.0);
    queued_.assign(ranks_, true);
    in_norm_.assign(ranks_, kUnknown);
    memory_.resize(ranks_);
    flights_.resize(ranks_);
    for (const std::vector<Action>& row : schedule_.ranks) {
      for (const Action& action : row) {
        transfers_ = transfers_ || is_send(action.op);
      }
      const bool norms = std::any_of(row.begin(), row.end(), [](const Action& a) { return a.op == Op::Norm; });
      norm_ranks_ += norms ? 1 : 0;
    }
  }

  Simulation run() {
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
      work_.push_back(rank);
    }
    while (!work_.empty()) {
      const std::size_t rank = work_.back();
      work_.pop_back();
      queued_[rank] = false;
      advance(rank);
    }
    std::string stuck;
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
      if (at_[rank] < schedule_.ranks[rank].size()) {
        stuck += fmt::format("{}rank {} at {}", stuck.empty() ? "" : ", ", rank,
                             to_string(schedule_.ranks[rank][at_[rank]]));
      }
    }
    if (!stuck.empty()) {
      throw InputError::of("schedule: cannot run to its end: {}", stuck);
    }
    return result();
  }

 private:
  [[nodiscard]] std::size_t cell(int stage, int micro_batch) const {
    return static_cast<std::size_t>(stage) * micro_batches_ + static_cast<std::size_t>(micro_batch);
  }

  [[nodiscard]] const StageCosts& stage(int index) const { return costs_.stages[static_cast<std::size_t>(index)]; }

  void wake(std::size_t rank) {
    if (!queued_[rank]) {
      queued_[rank] = true;
      work_.push_back(rank);
    }
  }

  void advance(std::size_t rank) {
    const std::vector<Action>& row = schedule_.ranks[rank];
    while (at_[rank] < row.size() && perform(rank, row[at_[rank]])) {
      ++at_[rank];
    }
  }

  /// When the data of this compute is there; 0 where it needs none; kUnknown while that is open.
  [[nodiscard]] double ready(const Action& action) const {
    if (action.op == Op::Forward && action.stage > 0) {
      return ready_forward_[cell(action.stage, action.micro_batch)];
    }
    if ((action.op == Op::Backward || action.op == Op::BackwardInput) &&
        action.stage + 1 < static_cast<int>(owners_.size())) {
      return ready_backward_[cell(action.stage, action.micro_batch)];
    }
    return 0.0;
  }

  [[nodiscard]] double duration(const Action& action) const {
    const StageCosts& cost = stage(action.stage);
    switch (action.op) {
      case Op::Forward:
      case Op::Recompute:
        return cost.forward.value;
      case Op::BackwardInput:
        return cost.backward_input.value;
      case Op::BackwardWeight:
        return cost.backward_weight.value;
      case Op::Backward:
        return cost.backward.value;
      case Op::Update:
        return cost.update.value;
      default:
        return 0.0;
    }
  }

  void occupy(std::size_t rank, const Action& action, double start_s, double end_s) {
    clock_[rank] = end_s;
    busy_[rank] += end_s - start_s;
    if (options_.events) {
      events_.push_back({static_cast<int>(rank), -1, action, Seconds{start_s}, Seconds{end_s}});
    }
  }

  /// Hands the result of a compute to a neighbour on the same rank (or anywhere, in a schedule without transfers).
  void hand_over(std::size_t rank, const Action& part, double end_s) {
    if (part.op == Op::Forward && part.stage + 1 < static_cast<int>(owners_.size())) {
      const auto owner = static_cast<std::size_t>(owners_[static_cast<std::size_t>(part.stage) + 1]);
      if (!transfers_ || owner == rank) {
        ready_forward_[cell(part.stage + 1, part.micro_batch)] = end_s;
        wake(owner);
      }
    } else if ((part.op == Op::Backward || part.op == Op::BackwardInput) && part.stage > 0) {
      const auto owner = static_cast<std::size_t>(owners_[static_cast<std::size_t>(part.stage) - 1]);
      if (!transfers_ || owner == rank) {
        ready_backward_[cell(part.stage - 1, part.micro_batch)] = end_s;
        wake(owner);
      }
    }
  }

  void book_memory(std::size_t rank, const Action& part, double start_s, double end_s) {
    const StageCosts& cost = stage(part.stage);
    std::vector<MemoryChange>& memory = memory_[rank];
    std::vector<MemoryChange>& flights = flights_[rank];
    // Before the pass the micro-batch holds `before` bytes here, after it `after`; what it sends is booked by its
    // message.
    const auto book = [&](std::int64_t before, Bytes peak, Bytes after) {
      const std::int64_t most = std::max({peak.value, before, after.value});
      memory.push_back({start_s, most - before});
      memory.push_back({end_s, after.value - most});
    };
    const std::size_t index = cell(part.stage, part.micro_batch);
    switch (part.op) {
      case Op::Forward:
        book(posted_forward_[index], cost.forward_peak, cost.saved);
        flights.push_back({start_s, 1});
        break;
      case Op::Backward:
        book(cost.saved.value + posted_backward_[index], cost.backward_peak, Bytes{});
        flights.push_back({end_s, -1});
        break;
      case Op::BackwardInput:
        book(cost.saved.value + posted_backward_[index], cost.backward_input_peak, cost.queued);
        break;
      case Op::BackwardWeight:
        book(cost.queued.value, cost.backward_weight_peak, Bytes{});
        flights.push_back({end_s, -1});
        break;
      default:
        break;
    }
  }

  bool compute(std::size_t rank, const Action& action, std::span<const Action> parts) {
    double start_s = clock_[rank];
    for (const Action& part : parts) {
      const double data_s = ready(part);
      if (data_s == kUnknown) {
        return false;
      }
      start_s = std::max(start_s, data_s);
    }
    double end_s = start_s + costs_.action_overhead.value;
    for (const Action& part : parts) {
      end_s += duration(part);
    }
    occupy(rank, action, start_s, end_s);
    for (const Action& part : parts) {
      hand_over(rank, part, end_s);
      book_memory(rank, part, start_s, end_s);
    }
    return true;
  }

  /// Starts every message of the link whose both ends are known; they go one after the other.
  void resolve(std::size_t from, std::size_t to) {
    Link& link = links_[from * ranks_ + to];
    while (link.resolved < std::min(link.sends, link.receives)) {
      const Message& message = link.messages[link.resolved++];
      const double start_s = std::max({message.sent_s, message.posted_s, link.free_s});
      const double end_s = start_s + costs_.transfer(static_cast<int>(from), static_cast<int>(to), message.bytes).value;
      link.free_s = end_s;
      (message.forward ? ready_forward_ : ready_backward_)[cell(message.stage, message.micro_batch)] = end_s;
      memory_[from].push_back({message.sent_s, message.bytes.value});
      memory_[from].push_back({end_s, -message.bytes.value});
      last_s_ = std::max(last_s_, end_s);
      wake(to);
      if (options_.events) {
        const Action send{message.forward ? Op::SendForward : Op::SendBackward,
                          message.stage + (message.forward ? -1 : 1), message.micro_batch};
        events_.push_back({static_cast<int>(from), static_cast<int>(to), send, Seconds{start_s}, Seconds{end_s}});
      }
    }
  }

  [[nodiscard]] std::size_t peer_of(const Action& action) const {
    if (action.peer >= 0) {
      return static_cast<std::size_t>(action.peer);
    }
    const bool to_next = action.op == Op::SendForward || action.op == Op::ReceiveBackward;
    const int peer = to_next ? action.stage + 1 : action.stage - 1;
    return static_cast<std::size_t>(owners_.at(static_cast<std::size_t>(peer)));
  }

  void send(std::size_t rank, const Action& action) {
    const bool forward = action.op == Op::SendForward;
    const std::size_t to = peer_of(action);
    Link& link = links_[rank * ranks_ + to];
    if (link.messages.size() <= link.sends) {
      link.messages.emplace_back();
    }
    Message& message = link.messages[link.sends++];
    message.sent_s = clock_[rank];
    message.stage = action.stage + (forward ? 1 : -1);
    message.micro_batch = action.micro_batch;
    message.forward = forward;
    message.bytes = forward ? stage(action.stage).boundary_forward : stage(action.stage - 1).boundary_backward;
    resolve(rank, to);
  }

  void receive(std::size_t rank, const Action& action) {
    const bool forward = action.op == Op::ReceiveForward;
    const std::size_t from = peer_of(action);
    Link& link = links_[from * ranks_ + rank];
    if (link.messages.size() <= link.receives) {
      link.messages.emplace_back();
    }
    link.messages[link.receives++].posted_s = clock_[rank];
    const Bytes bytes = forward ? stage(action.stage - 1).boundary_forward : stage(action.stage).boundary_backward;
    (forward ? posted_forward_ : posted_backward_)[cell(action.stage, action.micro_batch)] = bytes.value;
    memory_[rank].push_back({clock_[rank], bytes.value});
    resolve(from, rank);
  }

  /// A rank waits at its first NORM until every rank that has one is there; further ones of the same rank are free.
  bool norm(std::size_t rank) {
    if (norm_end_s_ != kUnknown) {
      clock_[rank] = std::max(clock_[rank], norm_end_s_);
      return true;
    }
    if (in_norm_[rank] == kUnknown) {
      in_norm_[rank] = clock_[rank];
      ++norms_reached_;
    }
    if (norms_reached_ < norm_ranks_) {
      return false;
    }
    norm_end_s_ = *std::max_element(in_norm_.begin(), in_norm_.end()) + costs_.norm_exchange.value;
    for (std::size_t other = 0; other < ranks_; ++other) {
      if (other != rank) {
        wake(other);
      }
    }
    clock_[rank] = norm_end_s_;
    return true;
  }

  bool perform(std::size_t rank, const Action& action) {
    switch (action.op) {
      case Op::Idle:
        return true;
      case Op::SendForward:
      case Op::SendBackward:
        send(rank, action);
        return true;
      case Op::ReceiveForward:
      case Op::ReceiveBackward:
        receive(rank, action);
        return true;
      case Op::Norm:
        return norm(rank);
      case Op::OverlapForwardBackward:
        return compute(rank, action, action.parts);
      case Op::Unshard:
      case Op::Reshard:
      case Op::ReduceGradient:
        return true;
      default:
        return compute(rank, action, std::span(&action, 1));
    }
  }

  static std::int64_t peak(std::vector<MemoryChange>& changes) {
    std::sort(changes.begin(), changes.end(), [](const MemoryChange& a, const MemoryChange& b) {
      return a.at_s != b.at_s ? a.at_s < b.at_s : a.bytes < b.bytes;
    });
    std::int64_t now = 0;
    std::int64_t most = 0;
    for (const MemoryChange& change : changes) {
      now += change.bytes;
      most = std::max(most, now);
    }
    return most;
  }

  Simulation result() {
    Simulation simulation;
    double end_s = last_s_;
    double busy_s = 0.0;
    int active = 0;
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
      end_s = std::max(end_s, clock_[rank]);
      busy_s += busy_[rank];
      active += schedule_.ranks[rank].empty() ? 0 : 1;
      simulation.busy.push_back({busy_[rank]});
      simulation.peak_in_flight.push_back(static_cast<int>(peak(flights_[rank])));
      Bytes resident = costs_.base_memory;
      for (std::size_t s = 0; s < owners_.size(); ++s) {
        if (owners_[s] == static_cast<int>(rank)) {
          resident += costs_.stages[s].resident;
        }
      }
      simulation.peak_memory.push_back(resident + Bytes{peak(memory_[rank])});
    }
    simulation.iteration = {end_s};
    simulation.bubble_share = end_s > 0.0 && active > 0 ? 1.0 - busy_s / (end_s * active) : 0.0;
    std::stable_sort(events_.begin(), events_.end(), [](const Event& a, const Event& b) { return a.start < b.start; });
    simulation.events = std::move(events_);
    return simulation;
  }

  const Schedule& schedule_;
  const PipelineCosts& costs_;
  const SimulateOptions& options_;
  std::size_t ranks_;
  std::vector<int> owners_;
  std::size_t micro_batches_;
  bool transfers_ = false;
  int norm_ranks_ = 0;
  int norms_reached_ = 0;
  double norm_end_s_ = kUnknown;
  double last_s_ = 0.0;
  std::vector<double> ready_forward_, ready_backward_;          // [stage, micro-batch], seconds
  std::vector<std::int64_t> posted_forward_, posted_backward_;  // [stage, micro-batch], bytes received
  std::vector<Link> links_;                                     // [from, to]
  std::vector<std::size_t> at_;
  std::vector<double> clock_, busy_, in_norm_;
  std::vector<bool> queued_;
  std::vector<std::size_t> work_;
  std::vector<std::vector<MemoryChange>> memory_, flights_;
  std::vector<Event> events_;
};

}  // namespace

Simulation simulate(const Schedule& lowered, const PipelineCosts& costs, const SimulateOptions& options) {
  return Simulator(lowered, costs, options).run();
}

}  // namespace motley

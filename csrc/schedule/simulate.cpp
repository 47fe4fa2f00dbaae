#include "motley/schedule/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "motley/base/error.h"
#include "motley/schedule/event_queue.h"
#include "motley/schedule/nic_sharing.h"
#include "motley/schedule/pass_memory.h"
#include "motley/schedule/peak.h"

namespace motley {
namespace {

constexpr double kUnknown = -1.0;

/// A change of a rank's memory at a time.
struct MemoryChange {
  double at_s;
  std::int64_t bytes;
};

struct Message {
  double sent_s, posted_s, end_s;
  std::int32_t lane, micro_batch;
};

/// A lane's costs.
struct LaneTimes {
  double transfer_s = 0.0;
  double encode_s = 0.0;
  std::int64_t bytes = 0;
};

struct ChannelState {
  std::size_t sends = 0;
  std::size_t receives = 0;
  std::size_t resolved = 0;
  double free_s = 0.0;
  double busy_s = 0.0;
  bool shares = false;  // its messages go through NICs
  // Of one that shares: the message after the resolved ones.
  bool under_way = false;  // its start or its end is queued
  bool started = false;
  double start_s = 0.0;
};

/// Where ranks wait for each other: the replicas of a stage in REDUCE_GRAD, all ranks in NORM.
struct Meeting {
  int awaited = 0;
  double latest_s = 0.0;
  double end_s = kUnknown;
};

struct ReplicaState {
  const StageCosts* costs = nullptr;
  double decode_forward_s = 0.0;
  double decode_backward_s = 0.0;
  double busy_s = 0.0;
  bool in_reduce = false;
};

struct RankState {
  std::size_t at = 0;
  double clock_s = 0.0;
  double busy_s = 0.0;
  double summing_s = 0.0;  // in REDUCE_GRAD once all are there
  double earned_s = 0.0;   // of its Burst's credit, by waiting
  bool queued = true;
  bool in_norm = false;
  std::vector<MemoryChange> memory;  // by time; what leaves with a message is freed by that
  Peak in_flight;
};

}  // namespace

class Simulator::Replay {
 public:
  Simulation run(const Program& program, const PipelineCosts& costs, const SimulateOptions& options) {
    program_ = &program;
    costs_ = &costs;
    options_ = options;
    prepare();
    for (int rank = 0; rank < program.ranks(); ++rank) work_.push_back(rank);
    do {
      while (!work_.empty()) {
        const int rank = work_.back();
        work_.pop_back();
        of_rank(rank).queued = false;
        advance(rank);
      }
    } while (next_shared_message());
    expect_done();
    return result();
  }

 private:
  using Step = Program::Step;

  [[nodiscard]] RankState& of_rank(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] const Program::Replica& replica(int index) const {
    return program_->replicas()[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] ReplicaState& state(int index) { return replicas_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] std::size_t cell(int index, int micro_batch) const {
    return static_cast<std::size_t>(index) * micro_batches_ + static_cast<std::size_t>(micro_batch);
  }

  void prepare() {
    if (static_cast<std::size_t>(program_->stages()) > costs_->stages.size()) {
      throw InputError::of("schedule: names stage {}, costs are known for {} stages", program_->stages() - 1,
                           costs_->stages.size());
    }
    micro_batches_ = program_->micro_batches();
    const std::size_t cells = program_->replicas().size() * micro_batches_;
    awaited_forward_.assign(program_->awaited_forward().begin(), program_->awaited_forward().end());
    awaited_backward_.assign(program_->awaited_backward().begin(), program_->awaited_backward().end());
    ready_forward_.assign(cells, 0.0);
    ready_backward_.assign(cells, 0.0);
    posted_forward_.assign(cells, 0);
    posted_backward_.assign(cells, 0);
    messages_.resize(program_->messages());
    ranks_.resize(static_cast<std::size_t>(program_->ranks()));
    for (int rank = 0; rank < program_->ranks(); ++rank) {
      RankState& of = of_rank(rank);
      std::vector<MemoryChange> memory = std::move(of.memory);
      memory.clear();
      memory.reserve(2 * program_->row(rank).size());
      of = RankState{};
      of.memory = std::move(memory);
    }
    replicas_.assign(program_->replicas().size(), {});
    reduces_.assign(static_cast<std::size_t>(program_->stages()), {});
    for (std::size_t i = 0; i < replicas_.size(); ++i) {
      const Program::Replica& of = program_->replicas()[i];
      replicas_[i].costs = &costs_->of(of.stage, of.rank);
      reduces_[static_cast<std::size_t>(of.stage)].awaited += of.sums ? 1 : 0;
    }
    norm_ = {program_->norm_ranks(), 0.0, kUnknown};
    last_s_ = 0.0;
    work_.clear();
    events_.clear();
    prepare_lanes();
    prepare_nics();
  }

  void prepare_lanes() {
    channels_.assign(program_->channels().size(), {});
    lanes_.assign(program_->lanes().size(), {});
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      const Program::Lane& lane = program_->lanes()[i];
      const Program::Replica& from = replica(lane.from);
      const Program::Replica& to = replica(lane.to);
      const Edge edge{lane.forward ? from.stage : to.stage, lane.forward ? Pass::Forward : Pass::Backward};
      const StageCosts& before = costs_->stages[static_cast<std::size_t>(edge.stage)];
      const std::int64_t samples = lane.send.sample_end - lane.send.sample_begin;
      LaneTimes& of = lanes_[i];
      of.bytes = (samples > 0    ? costs_->part_bytes(edge, samples)
                  : lane.forward ? before.boundary_forward
                                 : before.boundary_backward)
                     .value;
      of.transfer_s = costs_->transfer(from.rank, to.rank, Bytes{of.bytes}).value;
      if (costs_->codec) {
        const CodecTimes codec = costs_->codec(edge, from.rank, to.rank, samples);
        of.encode_s = codec.encode.value;
        (lane.forward ? state(lane.to).decode_forward_s : state(lane.to).decode_backward_s) += codec.decode.value;
      }
    }
  }

  void prepare_nics() {
    nics_.reset();
    if (costs_->host_of_rank.empty()) return;
    std::vector<int> sender, receiver;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      const Program::Channel& channel = program_->channels()[i];
      sender.push_back(costs_->host_of_rank.at(static_cast<std::size_t>(channel.from)));
      receiver.push_back(costs_->host_of_rank.at(static_cast<std::size_t>(channel.to)));
      channels_[i].shares = sender.back() != receiver.back();
    }
    nics_.emplace(costs_->nics, std::move(sender), std::move(receiver));
    shared_.reset(channels_.size());
  }

  void wake(int rank) {
    if (!of_rank(rank).queued) {
      of_rank(rank).queued = true;
      work_.push_back(rank);
    }
  }

  void advance(int rank) {
    const std::span<const Step> row = program_->row(rank);
    std::size_t& at = of_rank(rank).at;
    while (at < row.size()) {
      const std::size_t joined = row[at].joined ? 2 : 1;
      if (!perform(rank, row.subspan(at, joined))) return;
      at += joined;
    }
  }

  [[nodiscard]] static double duration(Op op, const StageCosts& costs) {
    switch (op) {
      case Op::Forward:
      case Op::Recompute:
        return costs.forward.value;
      case Op::BackwardInput:
        return costs.backward_input.value;
      case Op::BackwardWeight:
        return costs.backward_weight.value;
      case Op::Backward:
        return costs.backward.value;
      case Op::Update:
        return costs.update.value;
      default:
        return 0.0;
    }
  }

  void note(int rank, int to, std::span<const Step> steps, double start_s, double end_s) {
    if (options_.events) {
      events_.push_back({rank, to, program_->action(steps), Seconds{start_s}, Seconds{end_s}});
    }
  }

  /// Hands the result of a compute to a neighbour on the same rank (or anywhere, in a schedule without transfers).
  void hand_over(const Step& part, double end_s) {
    const Program::Replica& here = replica(part.where);
    if (part.op == Op::Forward && here.stage + 1 < program_->stages()) {
      hand_to(here.above, here.stage + 1, part.micro_batch, true, end_s);
    } else if ((part.op == Op::Backward || part.op == Op::BackwardInput) && here.stage > 0) {
      hand_to(here.below, here.stage - 1, part.micro_batch, false, end_s);
    }
  }

  void hand_to(int local, int stage, int micro_batch, bool forward, double end_s) {
    if (!program_->has_transfers()) {
      for (const int other : program_->replicas_of(stage)) deliver(other, micro_batch, forward, end_s);
    } else if (local >= 0) {
      deliver(local, micro_batch, forward, end_s);
    }
  }

  void deliver(int to, int micro_batch, bool forward, double at_s) {
    const std::size_t index = cell(to, micro_batch);
    double& ready = (forward ? ready_forward_ : ready_backward_)[index];
    ready = std::max(ready, at_s);
    if (--(forward ? awaited_forward_ : awaited_backward_)[index] == 0) wake(replica(to).rank);
  }

  [[nodiscard]] PassMemory memory_of(const Step& part) {
    // Other passes have no message in, an update not even a micro-batch.
    std::int64_t posted = 0;
    if (part.op == Op::Forward) posted = posted_forward_[cell(part.where, part.micro_batch)];
    if (part.op == Op::Backward || part.op == Op::BackwardInput) {
      posted = posted_backward_[cell(part.where, part.micro_batch)];
    }
    return pass_memory(part.op, *state(part.where).costs, replica(part.where).recomputes, Bytes{posted});
  }

  void book_memory(RankState& rank, std::span<const Step> parts, double start_s, double end_s) {
    PassMemory all;
    for (const Step& part : parts) {
      const PassMemory of = memory_of(part);
      all.bytes_at_start += of.bytes_at_start;
      all.bytes_at_end += of.bytes_at_end;
      all.flights_at_start += of.flights_at_start;
      all.flights_at_end += of.flights_at_end;
    }
    rank.memory.push_back({start_s, all.bytes_at_start});
    rank.memory.push_back({end_s, all.bytes_at_end});
    rank.in_flight.add(start_s, all.flights_at_start);
    rank.in_flight.add(end_s, all.flights_at_end);
  }

  /// Waiting for others earns what the rank gains when it computes again.
  void wait_until(int rank, double at_s) {
    RankState& here = of_rank(rank);
    if (!costs_->bursts.empty()) {
      const double most_s = costs_->bursts[static_cast<std::size_t>(rank)].credit.value;
      here.earned_s = std::min(most_s, here.earned_s + std::max(0.0, at_s - here.clock_s));
    }
    here.clock_s = std::max(here.clock_s, at_s);
  }

  /// How much less than `work_s` at busy speed it takes now; spent.
  [[nodiscard]] double gain(int rank, double work_s) {
    RankState& here = of_rank(rank);
    if (here.earned_s == 0.0) return 0.0;
    const Burst& burst = costs_->bursts[static_cast<std::size_t>(rank)];
    const double gain_s = burst.gain(Seconds{work_s}, Seconds{here.earned_s}).value;
    here.earned_s -= gain_s;
    return gain_s;
  }

  bool compute(int rank, std::span<const Step> parts) {
    RankState& here = of_rank(rank);
    double start_s = here.clock_s;
    for (const Step& part : parts) {
      const bool forward = part.op == Op::Forward;
      if (!forward && part.op != Op::Backward && part.op != Op::BackwardInput) continue;
      const std::size_t index = cell(part.where, part.micro_batch);
      if ((forward ? awaited_forward_ : awaited_backward_)[index] > 0) return false;
      start_s = std::max(start_s, (forward ? ready_forward_ : ready_backward_)[index]);
    }
    wait_until(rank, start_s);
    double end_s = start_s + costs_->action_overhead.value;
    for (const Step& part : parts) {
      const ReplicaState& of = state(part.where);
      if (part.op == Op::Forward) end_s += of.decode_forward_s;
      if (part.op == Op::Backward || part.op == Op::BackwardInput) end_s += of.decode_backward_s;
      end_s += duration(part.op, *of.costs);
    }
    end_s -= gain(rank, end_s - start_s);
    here.clock_s = end_s;
    here.busy_s += end_s - start_s;
    state(parts.front().where).busy_s += end_s - start_s;
    note(rank, -1, parts, start_s, end_s);
    for (const Step& part : parts) hand_over(part, end_s);
    book_memory(here, parts, start_s, end_s);
    return true;
  }

  [[nodiscard]] Message& message(std::size_t channel, std::size_t index) {
    return messages_[program_->channels()[channel].first_message + index];
  }

  /// Starts every message of the channel whose both ends are known; they go one after the other.
  void resolve(std::size_t channel) {
    ChannelState& of = channels_[channel];
    while (of.resolved < std::min(of.sends, of.receives) && !of.under_way) {
      Message& next = message(channel, of.resolved);
      const double start_s = std::max({next.sent_s, next.posted_s, of.free_s});
      const LaneTimes& times = lanes_[static_cast<std::size_t>(next.lane)];
      if (of.shares && times.bytes > 0) {
        of.under_way = true;
        of.start_s = start_s;
        shared_.set(channel, start_s);
      } else {
        end_message(channel, start_s, start_s + times.transfer_s);
      }
    }
  }

  void end_message(std::size_t channel, double start_s, double end_s) {
    ChannelState& of = channels_[channel];
    Message& ended = message(channel, of.resolved++);
    ended.end_s = end_s;
    of.free_s = end_s;
    const Program::Lane& lane = program_->lanes()[static_cast<std::size_t>(ended.lane)];
    of.busy_s += lanes_[static_cast<std::size_t>(ended.lane)].transfer_s;
    last_s_ = std::max(last_s_, end_s);
    deliver(lane.to, ended.micro_batch, lane.forward, end_s);
    const Step send{lane.send.op, false, ended.lane, ended.micro_batch};
    note(program_->channels()[channel].from, program_->channels()[channel].to, std::span(&send, 1), start_s, end_s);
  }

  /// Starts or ends the earliest message that shares NICs. No rank can act before that moment any more: whatever is not
  /// known yet waits for one of these messages.
  bool next_shared_message() {
    if (!nics_ || shared_.empty()) return false;
    const std::size_t channel = shared_.first();
    const double now_s = shared_.first_s();
    shared_.pop();
    ChannelState& of = channels_[channel];
    const LaneTimes& times = lanes_[static_cast<std::size_t>(message(channel, of.resolved).lane)];
    if (!of.started) {
      of.started = true;
      nics_->start(channel, now_s, static_cast<double>(times.bytes), times.transfer_s);
    } else {
      of.started = of.under_way = false;
      nics_->finish(channel);
      end_message(channel, of.start_s, now_s);
      resolve(channel);
    }
    for (const std::size_t changed : nics_->changed()) shared_.set(changed, nics_->end(changed));
    return true;
  }

  void send(int rank, const Step& step) {
    const auto channel = static_cast<std::size_t>(program_->lanes()[static_cast<std::size_t>(step.where)].channel);
    const LaneTimes& times = lanes_[static_cast<std::size_t>(step.where)];
    RankState& here = of_rank(rank);
    if (times.encode_s > 0.0) {
      const double encode_s = times.encode_s - gain(rank, times.encode_s);
      note(rank, -1, std::span(&step, 1), here.clock_s, here.clock_s + encode_s);
      here.clock_s += encode_s;
      here.busy_s += encode_s;
    }
    Message& next = message(channel, channels_[channel].sends++);
    next.sent_s = here.clock_s;
    next.lane = step.where;
    next.micro_batch = step.micro_batch;
    here.memory.push_back({here.clock_s, times.bytes});
    resolve(channel);
  }

  void receive(int rank, const Step& step) {
    const Program::Lane& lane = program_->lanes()[static_cast<std::size_t>(step.where)];
    const auto channel = static_cast<std::size_t>(lane.channel);
    const std::int64_t bytes = lanes_[static_cast<std::size_t>(step.where)].bytes;
    RankState& here = of_rank(rank);
    message(channel, channels_[channel].receives++).posted_s = here.clock_s;
    (lane.forward ? posted_forward_ : posted_backward_)[cell(lane.to, step.micro_batch)] += bytes;
    here.memory.push_back({here.clock_s, bytes});
    resolve(channel);
  }

  /// Comes to a meeting, the first time that `came` is false. Whether it is over, which the last one to come decides.
  static bool meet(Meeting& meeting, bool& came, double clock_s, double lasts_s) {
    if (!came) {
      came = true;
      meeting.latest_s = std::max(meeting.latest_s, clock_s);
      if (--meeting.awaited == 0) meeting.end_s = meeting.latest_s + lasts_s;
    }
    return meeting.end_s != kUnknown;
  }

  /// A rank waits at its first NORM until every rank that has one is there; further ones of the same rank are free.
  bool norm(int rank) {
    RankState& here = of_rank(rank);
    const bool last = !here.in_norm && norm_.awaited == 1;
    if (!meet(norm_, here.in_norm, here.clock_s, costs_->norm_exchange.value)) return false;
    for (int other = 0; last && other < program_->ranks(); ++other) {
      if (other != rank) wake(other);
    }
    wait_until(rank, norm_.end_s);
    return true;
  }

  bool reduce(int rank, const Step& step) {
    RankState& here = of_rank(rank);
    ReplicaState& of = state(step.where);
    const int stage = replica(step.where).stage;
    Meeting& meeting = reduces_[static_cast<std::size_t>(stage)];
    const double lasts_s = of.costs->reduce.value;
    const bool last = !of.in_reduce && meeting.awaited == 1;
    if (!meet(meeting, of.in_reduce, here.clock_s, lasts_s)) return false;
    for (const int other : program_->replicas_of(stage)) {
      if (last && other != step.where) wake(replica(other).rank);
    }
    if (lasts_s > 0.0) note(rank, -1, std::span(&step, 1), meeting.latest_s, meeting.end_s);
    here.summing_s += meeting.end_s - meeting.latest_s;
    wait_until(rank, meeting.end_s);
    return true;
  }

  bool perform(int rank, std::span<const Step> steps) {
    const Step& step = steps.front();
    switch (step.op) {
      case Op::SendForward:
      case Op::SendBackward:
        send(rank, step);
        return true;
      case Op::ReceiveForward:
      case Op::ReceiveBackward:
        receive(rank, step);
        return true;
      case Op::Norm:
        return norm(rank);
      case Op::ReduceGradient:
        return reduce(rank, step);
      default:
        return compute(rank, steps);
    }
  }

  void expect_done() {
    std::string stuck;
    for (int rank = 0; rank < program_->ranks(); ++rank) {
      const std::span<const Step> row = program_->row(rank);
      if (const std::size_t at = of_rank(rank).at; at < row.size()) {
        stuck += fmt::format("{}rank {} at {}", stuck.empty() ? "" : ", ", rank,
                             to_string(program_->action(row.subspan(at, row[at].joined ? 2 : 1))));
      }
    }
    if (!stuck.empty()) throw InputError::of("schedule: cannot run to its end: {}", stuck);
  }

  /// Merges a rank's own changes with what its messages free at their ends, which come in order on every channel.
  [[nodiscard]] std::int64_t peak_memory(int rank) {
    struct Frees {
      std::size_t channel;
      std::size_t next;
    };
    std::vector<Frees> frees;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      if (program_->channels()[i].from == rank && channels_[i].resolved > 0) frees.push_back({i, 0});
    }
    Peak peak;
    const auto free_until = [&](double at_s) {
      while (!frees.empty()) {
        const auto earliest = std::min_element(frees.begin(), frees.end(), [&](const Frees& a, const Frees& b) {
          return message(a.channel, a.next).end_s < message(b.channel, b.next).end_s;
        });
        const Message& ended = message(earliest->channel, earliest->next);
        if (ended.end_s > at_s) return;
        peak.add(ended.end_s, -lanes_[static_cast<std::size_t>(ended.lane)].bytes);
        if (++earliest->next == channels_[earliest->channel].resolved) frees.erase(earliest);
      }
    };
    for (const MemoryChange& change : of_rank(rank).memory) {
      free_until(change.at_s);
      peak.add(change.at_s, change.bytes);
    }
    return peak.most();
  }

  /// The busiest rank, channel or NIC.
  [[nodiscard]] double bottleneck() const {
    double most_s = 0.0;
    for (const RankState& rank : ranks_) most_s = std::max(most_s, rank.busy_s + rank.summing_s);
    std::vector<double> send_bytes(costs_->nics.size(), 0.0);
    std::vector<double> receive_bytes(costs_->nics.size(), 0.0);
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      most_s = std::max(most_s, channels_[i].busy_s);
      if (!channels_[i].shares) continue;
      const Program::Channel& channel = program_->channels()[i];
      double bytes = 0.0;
      for (std::size_t m = 0; m < channels_[i].resolved; ++m) {
        bytes += static_cast<double>(lanes_[static_cast<std::size_t>(messages_[channel.first_message + m].lane)].bytes);
      }
      send_bytes[static_cast<std::size_t>(costs_->host_of_rank[static_cast<std::size_t>(channel.from)])] += bytes;
      receive_bytes[static_cast<std::size_t>(costs_->host_of_rank[static_cast<std::size_t>(channel.to)])] += bytes;
    }
    for (std::size_t host = 0; host < costs_->nics.size(); ++host) {
      const Nic& nic = costs_->nics[host];
      if (nic.send.value > 0.0) most_s = std::max(most_s, send_bytes[host] / nic.send.value);
      if (nic.receive.value > 0.0) most_s = std::max(most_s, receive_bytes[host] / nic.receive.value);
    }
    return most_s;
  }

  Simulation result() {
    Simulation simulation;
    double end_s = last_s_;
    double busy_s = 0.0;
    int active = 0;
    for (int rank = 0; rank < program_->ranks(); ++rank) {
      RankState& of = of_rank(rank);
      end_s = std::max(end_s, of.clock_s);
      busy_s += of.busy_s;
      active += program_->row(rank).empty() ? 0 : 1;
      simulation.busy.push_back({of.busy_s});
      simulation.peak_in_flight.push_back(static_cast<int>(of.in_flight.most()));
      simulation.peak_memory.push_back(costs_->base_memory + Bytes{peak_memory(rank)});
    }
    simulation.stage_busy.resize(static_cast<std::size_t>(program_->stages()));
    for (std::size_t i = 0; i < replicas_.size(); ++i) {
      const Program::Replica& of = program_->replicas()[i];
      Seconds& most = simulation.stage_busy[static_cast<std::size_t>(of.stage)];
      most = std::max(most, Seconds{replicas_[i].busy_s});
      simulation.peak_memory[static_cast<std::size_t>(of.rank)] += replicas_[i].costs->resident;
    }
    simulation.iteration = {end_s};
    simulation.bubble_share = end_s > 0.0 && active > 0 ? 1.0 - busy_s / (end_s * active) : 0.0;
    simulation.bottleneck = {bottleneck()};
    std::stable_sort(events_.begin(), events_.end(), [](const Event& a, const Event& b) { return a.start < b.start; });
    simulation.events = std::move(events_);
    return simulation;
  }

  const Program* program_ = nullptr;
  const PipelineCosts* costs_ = nullptr;
  SimulateOptions options_;
  std::size_t micro_batches_ = 0;
  std::vector<std::uint16_t> awaited_forward_, awaited_backward_;  // [replica, micro-batch], messages still to come
  std::vector<double> ready_forward_, ready_backward_;             // [replica, micro-batch], seconds
  std::vector<std::int64_t> posted_forward_, posted_backward_;     // [replica, micro-batch], bytes received
  std::vector<Message> messages_;                                  // by channel, in the order of SENDs
  std::vector<ChannelState> channels_;
  std::vector<LaneTimes> lanes_;
  std::vector<ReplicaState> replicas_;
  std::vector<RankState> ranks_;
  std::vector<Meeting> reduces_;  // [stage]
  Meeting norm_;
  double last_s_ = 0.0;
  std::vector<int> work_;
  std::optional<NicSharing> nics_;
  EventQueue shared_;  // by channel: start or end of the message under way
  std::vector<Event> events_;
};

Simulator::Simulator() : replay_(std::make_unique<Replay>()) {}
Simulator::~Simulator() = default;
Simulator::Simulator(Simulator&&) noexcept = default;
Simulator& Simulator::operator=(Simulator&&) noexcept = default;

Simulation Simulator::run(const Program& program, const PipelineCosts& costs, const SimulateOptions& options) {
  return replay_->run(program, costs, options);
}

Simulation simulate(const Schedule& lowered, const PipelineCosts& costs, const SimulateOptions& options) {
  return Simulator().run(Program(lowered), costs, options);
}

}  // namespace motley

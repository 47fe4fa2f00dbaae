#include "reference_simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <set>
#include <stdexcept>

namespace motley {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

struct Transfer {
  Action send;
  int from = 0, to = 0;
  std::int64_t bytes = 0;
  double alone_s = 0.0;
  double decode_s = 0.0;
  double left = 0.0;  // bytes
  double start_s = 0.0;
  double end_s = kNever;
  bool shares = false;
};

struct Rank {
  std::size_t at = 0;
  double until_s = 0.0;
  const Action* doing = nullptr;  // a pass, an update or an encoding; ends at until_s
  double began_s = 0.0;
  std::map<std::string, std::int64_t> holds;  // bytes by what they are
  std::set<std::string> flying;
};

class Moments {
 public:
  Moments(const Schedule& lowered, const PipelineCosts& costs)
      : schedule_(lowered), costs_(costs), ranks_of_(lowered.ranks_of_stage()), ranks_(lowered.ranks.size()) {
    out_.busy_s.assign(ranks_.size(), 0.0);
    out_.peak_memory.assign(ranks_.size(), 0);
    out_.peak_in_flight.assign(ranks_.size(), 0);
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      ranks_[r].holds["base"] = costs.base_memory.value;
      for (std::size_t s = 0; s < ranks_of_.size(); ++s) {
        if (is_on(static_cast<int>(s), static_cast<int>(r))) {
          ranks_[r].holds[fmt::format("resident {}", s)] = cost(s, r).resident.value;
        }
      }
      for (const Action& action : lowered.ranks[r]) {
        transfers_ = transfers_ || is_send(action.op);
        if (action.op == Op::Recompute) recomputes_.insert(action.stage);
        if (action.op == Op::Norm) norm_ranks_.insert(static_cast<int>(r));
      }
    }
  }

  ReferenceReplay run() {
    while (true) {
      settle();
      double next_s = kNever;
      for (const Rank& rank : ranks_) {
        if (rank.doing != nullptr || rank.until_s > now_s_) next_s = std::min(next_s, rank.until_s);
      }
      for (const auto& [ends, transfer] : under_way_) next_s = std::min(next_s, transfer.end_s);
      if (next_s == kNever) break;
      for (auto& [ends, transfer] : under_way_) transfer.left -= rates_[ends] * (next_s - now_s_);
      now_s_ = next_s;
    }
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      if (ranks_[r].at < schedule_.ranks[r].size()) throw std::runtime_error("the reference is stuck");
    }
    out_.iteration_s = now_s_;
    return out_;
  }

 private:
  using Ends = std::pair<int, int>;

  bool is_on(int stage, int rank) const {
    return stage >= 0 && stage < static_cast<int>(ranks_of_.size()) &&
           std::count(ranks_of_[stage].begin(), ranks_of_[stage].end(), rank) > 0;
  }
  const StageCosts& cost(std::size_t stage, std::size_t rank) const {
    return costs_.of(static_cast<int>(stage), static_cast<int>(rank));
  }
  static std::string name(const char* what, int stage, int m) { return fmt::format("{} {} {}", what, stage, m); }

  /// Everything that can happen now, until nothing can.
  void settle() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (int r = 0; r < static_cast<int>(ranks_.size()); ++r) {
        while (step(r)) moved = true;
      }
      moved = end_transfers() || moved;
      moved = start_transfers() || moved;
    }
    share_nics();
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      std::int64_t bytes = 0;
      for (const auto& [what, of] : ranks_[r].holds) bytes += of;
      out_.peak_memory[r] = std::max(out_.peak_memory[r], bytes);
      out_.peak_in_flight[r] = std::max(out_.peak_in_flight[r], static_cast<int>(ranks_[r].flying.size()));
    }
  }

  std::vector<Action> parts(const Action& a) const {
    return a.op == Op::OverlapForwardBackward ? a.parts : std::vector<Action>{a};
  }

  bool step(int r) {
    Rank& rank = ranks_[r];
    if (rank.until_s > now_s_) return false;
    if (rank.doing != nullptr) {
      finish(r, *rank.doing);
      rank.doing = nullptr;
      return true;
    }
    if (rank.at == schedule_.ranks[r].size()) return false;
    const Action& action = schedule_.ranks[r][rank.at];
    if (action.op == Op::Norm || action.op == Op::ReduceGradient) return meet(r, action);
    if (is_send(action.op)) return send(r, action);
    if (is_receive(action.op)) {
      posted_[peer(r, action)].push_back(action);
      rank.holds[name("posted", action.stage, action.micro_batch) + to_string(action)] =
          bytes_of(action);  // until its compute starts
      received_[{r, name(action.op == Op::ReceiveForward ? "F" : "B", action.stage, action.micro_batch)}].insert(
          to_string(action));
      ++rank.at;
      return true;
    }
    if (!is_compute(action.op) && action.op != Op::Update) {
      ++rank.at;
      return true;
    }
    double lasts_s = costs_.action_overhead.value;
    for (const Action& part : parts(action)) {
      if (!has_input(r, part)) return false;
      lasts_s += duration(r, part) + (takes_input(part) ? decode_[{r, key(part)}] : 0.0);
    }
    for (const Action& part : parts(action)) begin(r, part);
    rank.began_s = now_s_;
    rank.until_s = now_s_ + lasts_s;
    rank.doing = &action;
    out_.spans[fmt::format("{}: {}", r, to_string(action))] = {now_s_, rank.until_s};
    out_.busy_s[r] += lasts_s;
    ++rank.at;
    return true;
  }

  static bool takes_input(const Action& part) {
    return part.op == Op::Forward || part.op == Op::Backward || part.op == Op::BackwardInput;
  }
  static std::string key(const Action& part) {
    return name(part.op == Op::Forward ? "F" : "B", part.stage, part.micro_batch);
  }

  bool has_input(int r, const Action& part) {
    if (!takes_input(part)) return true;
    const bool forward = part.op == Op::Forward;
    const int from = part.stage + (forward ? -1 : 1);
    if (from < 0 || from >= static_cast<int>(ranks_of_.size())) return true;
    if (transfers_ && !is_on(from, r)) {
      const auto& awaited = received_[{r, key(part)}];
      return !awaited.empty() && arrived_[{r, key(part)}] == awaited.size();
    }
    for (const int other : ranks_of_[from]) {
      if ((!transfers_ || other == r) &&
          !done_.contains(fmt::format("{}: {}", other, name(forward ? "F" : "B", from, part.micro_batch)))) {
        return false;
      }
    }
    return true;
  }

  double duration(int r, const Action& part) const {
    const StageCosts& c = cost(part.stage, r);
    switch (part.op) {
      case Op::Forward:
      case Op::Recompute:
        return c.forward.value;
      case Op::Backward:
        return c.backward.value;
      case Op::BackwardInput:
        return c.backward_input.value;
      case Op::BackwardWeight:
        return c.backward_weight.value;
      default:
        return c.update.value;
    }
  }

  void begin(int r, const Action& part) {
    Rank& rank = ranks_[r];
    const StageCosts& c = cost(part.stage, r);
    const std::string block = name("micro-batch", part.stage, part.micro_batch);
    std::int64_t before = rank.holds[block];
    if (takes_input(part)) {
      for (const std::string& receive : received_[{r, key(part)}]) {
        const std::string what = name("posted", part.stage, part.micro_batch) + receive;
        before += rank.holds[what];
        rank.holds.erase(what);
      }
    }
    rank.holds[block] = std::max({before, peak(part, c).value, after(part, c).value});
    if (part.op == Op::Forward) rank.flying.insert(block);
  }

  Bytes peak(const Action& part, const StageCosts& c) const {
    switch (part.op) {
      case Op::Forward:
        return recomputes_.contains(part.stage) ? c.unsaved_peak : c.forward_peak;
      case Op::Recompute:
        return c.forward_peak;
      case Op::Backward:
        return c.backward_peak;
      case Op::BackwardInput:
        return c.backward_input_peak;
      case Op::BackwardWeight:
        return c.backward_weight_peak;
      default:
        return {};
    }
  }

  Bytes after(const Action& part, const StageCosts& c) const {
    switch (part.op) {
      case Op::Forward:
        return recomputes_.contains(part.stage) ? c.input : c.saved;
      case Op::Recompute:
        return c.saved;
      case Op::BackwardInput:
        return c.queued;
      default:
        return {};
    }
  }

  void finish(int r, const Action& action) {
    Rank& rank = ranks_[r];
    if (is_send(action.op)) {
      hand_to_channel(r, action);
      return;
    }
    for (const Action& part : parts(action)) {
      if (part.op == Op::Update) continue;
      const std::string block = name("micro-batch", part.stage, part.micro_batch);
      rank.holds[block] = after(part, cost(part.stage, r)).value;
      if (rank.holds[block] == 0) rank.holds.erase(block);
      if (part.op == Op::Backward || part.op == Op::BackwardWeight) rank.flying.erase(block);
      if (takes_input(part)) {
        done_.insert(fmt::format("{}: {}", r, key(part)));
      }
    }
  }

  int peer_rank(const Action& a) const {
    if (a.peer >= 0) return a.peer;
    const bool up = a.op == Op::SendForward || a.op == Op::ReceiveBackward;
    const int stage = a.stage + (up ? 1 : -1);
    return ranks_of_.at(static_cast<std::size_t>(stage)).front();
  }
  Ends peer(int r, const Action& a) const { return is_send(a.op) ? Ends{r, peer_rank(a)} : Ends{peer_rank(a), r}; }
  static Edge edge_of(const Action& a) {
    const bool forward = a.op == Op::SendForward || a.op == Op::ReceiveForward;
    const bool upper = a.op == Op::ReceiveForward || a.op == Op::SendBackward;
    return {upper ? a.stage - 1 : a.stage, forward ? Pass::Forward : Pass::Backward};
  }
  std::int64_t bytes_of(const Action& a) const {
    const Edge edge = edge_of(a);
    if (a.sample_end > a.sample_begin) return costs_.part_bytes(edge, a.sample_end - a.sample_begin).value;
    const StageCosts& c = costs_.stages[static_cast<std::size_t>(edge.stage)];
    return (edge.pass == Pass::Forward ? c.boundary_forward : c.boundary_backward).value;
  }

  bool send(int r, const Action& action) {
    Rank& rank = ranks_[r];
    ++rank.at;
    double encode_s = 0.0;
    if (costs_.codec) {
      const Ends ends = peer(r, action);
      encode_s =
          costs_.codec(edge_of(action), ends.first, ends.second, action.sample_end - action.sample_begin).encode.value;
    }
    if (encode_s == 0.0) {
      hand_to_channel(r, action);
      return true;
    }
    out_.spans[fmt::format("{}: encode {}", r, to_string(action))] = {now_s_, now_s_ + encode_s};
    out_.busy_s[r] += encode_s;
    rank.until_s = now_s_ + encode_s;
    rank.doing = &action;
    return true;
  }

  void hand_to_channel(int r, const Action& action) {
    const Ends ends = peer(r, action);
    Transfer transfer;
    transfer.send = action;
    transfer.from = ends.first;
    transfer.to = ends.second;
    transfer.bytes = bytes_of(action);
    transfer.alone_s = costs_.transfer(ends.first, ends.second, Bytes{transfer.bytes}).value;
    if (costs_.codec) {
      transfer.decode_s =
          costs_.codec(edge_of(action), ends.first, ends.second, action.sample_end - action.sample_begin).decode.value;
    }
    ranks_[r].holds["leaving " + to_string(action)] = transfer.bytes;
    sent_[ends].push_back(transfer);
  }

  bool start_transfers() {
    bool moved = false;
    for (auto& [ends, queue] : sent_) {
      if (queue.empty() || posted_[ends].empty() || under_way_.contains(ends)) continue;
      Transfer transfer = queue.front();
      queue.pop_front();
      posted_[ends].pop_front();
      transfer.start_s = now_s_;
      transfer.end_s = now_s_ + transfer.alone_s;
      transfer.left = static_cast<double>(transfer.bytes);
      transfer.shares = !costs_.host_of_rank.empty() && transfer.bytes > 0 &&
                        costs_.host_of_rank[transfer.from] != costs_.host_of_rank[transfer.to];
      rates_[ends] = transfer.alone_s > 0.0 ? transfer.left / transfer.alone_s : kNever;
      under_way_.emplace(ends, transfer);
      moved = true;
    }
    return moved;
  }

  bool end_transfers() {
    bool moved = false;
    for (auto it = under_way_.begin(); it != under_way_.end();) {
      const Transfer& transfer = it->second;
      if (transfer.end_s > now_s_) {
        ++it;
        continue;
      }
      const bool forward = transfer.send.op == Op::SendForward;
      const std::string consumer =
          name(forward ? "F" : "B", transfer.send.stage + (forward ? 1 : -1), transfer.send.micro_batch);
      ++arrived_[{transfer.to, consumer}];
      decode_[{transfer.to, consumer}] += transfer.decode_s;
      ranks_[transfer.from].holds.erase("leaving " + to_string(transfer.send));
      out_.spans[fmt::format("{}: {}", transfer.from, to_string(transfer.send))] = {transfer.start_s, now_s_};
      it = under_way_.erase(it);
      moved = true;
    }
    return moved;
  }

  void share_nics() {
    if (costs_.host_of_rank.empty()) return;
    std::vector<Transfer*> flows;
    std::vector<double> wants;
    const std::size_t hosts = costs_.nics.size();
    std::vector<std::vector<int>> ports(2 * hosts);
    std::vector<double> limits;
    for (const Nic& nic : costs_.nics) limits.push_back(nic.send.value);
    for (const Nic& nic : costs_.nics) limits.push_back(nic.receive.value);
    for (auto& [ends, transfer] : under_way_) {
      if (!transfer.shares) continue;
      ports[costs_.host_of_rank[transfer.from]].push_back(static_cast<int>(flows.size()));
      ports[hosts + costs_.host_of_rank[transfer.to]].push_back(static_cast<int>(flows.size()));
      wants.push_back(transfer.alone_s > 0.0 ? static_cast<double>(transfer.bytes) / transfer.alone_s : kNever);
      flows.push_back(&transfer);
    }
    const std::vector<double> rates = fair_rates(wants, ports, limits);
    for (std::size_t f = 0; f < flows.size(); ++f) {
      Transfer& flow = *flows[f];
      out_.slowed = out_.slowed || rates[f] < wants[f] * (1.0 - 1e-9);
      rates_[{flow.from, flow.to}] = rates[f];
      flow.end_s = now_s_ + std::max(0.0, flow.left) / rates[f];
    }
  }

  bool meet(int r, const Action& action) {
    Rank& rank = ranks_[r];
    const bool norm = action.op == Op::Norm;
    const std::string what = norm ? "norm" : to_string(action);
    auto& meeting = meetings_[what];
    meeting.insert(r);
    const std::size_t all = norm ? norm_ranks_.size() : ranks_of_[action.stage].size();
    if (meeting.size() < all) return false;
    const double lasts_s = norm ? costs_.norm_exchange.value : cost(action.stage, r).reduce.value;
    const double end_s = ends_.emplace(what, now_s_ + lasts_s).first->second;
    rank.until_s = std::max(rank.until_s, end_s);
    if (!norm && lasts_s > 0.0) {
      out_.spans[fmt::format("{}: {}", r, to_string(action))] = {end_s - lasts_s, end_s};
    }
    ++rank.at;
    return true;
  }

  const Schedule& schedule_;
  const PipelineCosts& costs_;
  std::vector<std::vector<int>> ranks_of_;
  std::vector<Rank> ranks_;
  bool transfers_ = false;
  double now_s_ = 0.0;
  std::set<int> recomputes_;
  std::set<int> norm_ranks_;
  std::set<std::string> done_;
  std::map<std::pair<int, std::string>, std::set<std::string>> received_;
  std::map<std::pair<int, std::string>, std::size_t> arrived_;
  std::map<std::pair<int, std::string>, double> decode_;
  std::map<Ends, std::deque<Transfer>> sent_;
  std::map<Ends, std::deque<Action>> posted_;
  std::map<Ends, Transfer> under_way_;
  std::map<Ends, double> rates_;
  std::map<std::string, std::set<int>> meetings_;
  std::map<std::string, double> ends_;
  ReferenceReplay out_;
};

}  // namespace

ReferenceReplay replay_by_moments(const Schedule& lowered, const PipelineCosts& costs) {
  return Moments(lowered, costs).run();
}

std::vector<double> fair_rates(const std::vector<double>& wants, const std::vector<std::vector<int>>& ports,
                               const std::vector<double>& limits) {
  std::vector<double> rates(wants.size(), 0.0);
  std::vector<bool> full(wants.size(), false);
  while (true) {
    double raise = kNever;
    for (std::size_t f = 0; f < wants.size(); ++f) {
      if (!full[f]) raise = std::min(raise, wants[f] - rates[f]);
    }
    for (std::size_t p = 0; p < ports.size(); ++p) {
      double used = 0.0;
      int growing = 0;
      for (const int f : ports[p]) {
        used += rates[f];
        growing += full[f] ? 0 : 1;
      }
      if (limits[p] > 0.0 && growing > 0) raise = std::min(raise, (limits[p] - used) / growing);
    }
    if (std::find(full.begin(), full.end(), false) == full.end()) return rates;
    for (std::size_t f = 0; f < wants.size(); ++f) {
      if (!full[f]) rates[f] += raise;
    }
    for (std::size_t f = 0; f < wants.size(); ++f) full[f] = full[f] || rates[f] >= wants[f] * (1.0 - 1e-12);
    for (std::size_t p = 0; p < ports.size(); ++p) {
      double used = 0.0;
      for (const int f : ports[p]) used += rates[f];
      if (limits[p] > 0.0 && used >= limits[p] * (1.0 - 1e-12)) {
        for (const int f : ports[p]) full[f] = true;
      }
    }
  }
}

}  // namespace motley

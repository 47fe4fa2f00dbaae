#include "motley/schedule/nic_sharing.h"

#include <algorithm>
#include <limits>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kNone = static_cast<std::size_t>(-1);

}  // namespace

NicSharing::NicSharing(std::span<const Nic> nics, std::vector<int> sender, std::vector<int> receiver)
    : flows_(sender.size()), ports_(2 * nics.size()) {
  for (std::size_t host = 0; host < nics.size(); ++host) {
    ports_[host].rate = nics[host].send.value;
    ports_[nics.size() + host].rate = nics[host].receive.value;
  }
  for (std::size_t channel = 0; channel < sender.size(); ++channel) {
    flows_[channel].port[0] = static_cast<std::size_t>(sender[channel]);
    flows_[channel].port[1] = nics.size() + static_cast<std::size_t>(receiver[channel]);
  }
}

void NicSharing::update(Port& port) {
  double wanted = 0.0;
  for (const std::size_t channel : port.flows) wanted += flows_[channel].own_rate;
  port.overfull = port.rate > 0.0 && wanted > port.rate;
}

void NicSharing::start(std::size_t channel, double now_s, double bytes, double alone_s) {
  Flow& flow = flows_[channel];
  flow.left_bytes = bytes;
  flow.since_s = now_s;
  flow.own_rate = alone_s > 0.0 ? bytes / alone_s : kInfinity;
  flow.rate = flow.own_rate;
  flow.end_s = now_s + alone_s;
  for (std::size_t side = 0; side < 2; ++side) {
    Port& port = ports_[flow.port[side]];
    flow.place[side] = port.flows.size();
    port.flows.push_back(channel);
    update(port);
  }
  changed_.assign(1, channel);
  collect(flow);
  share(now_s, channel);
}

void NicSharing::finish(std::size_t channel) {
  Flow& flow = flows_[channel];
  changed_.clear();
  collect(flow);  // while it is still there: who was slowed down with it may be faster now
  for (std::size_t side = 0; side < 2; ++side) {
    Port& port = ports_[flow.port[side]];
    const std::size_t last = port.flows.back();
    port.flows[flow.place[side]] = last;
    flows_[last].place[side] = flow.place[side];
    port.flows.pop_back();
    update(port);
  }
  std::erase(touched_flows_, channel);
  flow.touched = false;
  share(flow.end_s, kNone);
}

/// The overfull ports of the flow, all that their flows are slowed down with, and so on.
void NicSharing::collect(const Flow& flow) {
  touched_flows_.clear();
  touched_ports_.clear();
  const auto touch = [this](const Flow& of) {
    for (const std::size_t index : of.port) {
      Port& port = ports_[index];
      if (port.overfull && !port.touched) {
        port.touched = true;
        touched_ports_.push_back(index);
      }
    }
  };
  touch(flow);
  for (std::size_t next = 0; next < touched_ports_.size(); ++next) {
    for (const std::size_t channel : ports_[touched_ports_[next]].flows) {
      Flow& other = flows_[channel];
      if (other.touched) continue;
      other.touched = true;
      touched_flows_.push_back(channel);
      touch(other);
    }
  }
}

void NicSharing::fix(Flow& flow, double rate) {
  flow.next_rate = rate;
  for (const std::size_t index : flow.port) {
    Port& port = ports_[index];
    if (!port.touched) continue;
    port.left -= rate;
    fair_[port.index] = --port.open > 0 ? port.left / static_cast<double>(port.open) : kInfinity;
  }
}

/// Progressive filling of what was collected: the port that has least for each of its open flows gives that to them,
/// unless some want less; they get what they want first. What other ports seem to have can only grow by that.
void NicSharing::share(double now_s, std::size_t started) {
  fair_.resize(touched_ports_.size());
  for (std::size_t i = 0; i < touched_ports_.size(); ++i) {
    Port& port = ports_[touched_ports_[i]];
    port.left = port.rate;
    port.open = port.flows.size();
    port.index = i;
    fair_[i] = port.open > 0 ? port.left / static_cast<double>(port.open) : kInfinity;
  }
  for (const std::size_t channel : touched_flows_) flows_[channel].next_rate = -1.0;
  while (true) {
    const auto tightest = std::min_element(fair_.begin(), fair_.end());
    if (tightest == fair_.end() || *tightest == kInfinity) break;
    const double least = std::max(*tightest, 0.0);
    const std::vector<std::size_t>& flows =
        ports_[touched_ports_[static_cast<std::size_t>(tightest - fair_.begin())]].flows;
    bool modest = false;
    for (const std::size_t channel : flows) {
      Flow& flow = flows_[channel];
      if (flow.next_rate < 0.0 && flow.own_rate <= least) {
        fix(flow, flow.own_rate);
        modest = true;
      }
    }
    for (const std::size_t channel : flows) {
      Flow& flow = flows_[channel];
      if (!modest && flow.next_rate < 0.0) fix(flow, least);
    }
  }
  for (const std::size_t index : touched_ports_) ports_[index].touched = false;
  for (const std::size_t channel : touched_flows_) {
    Flow& flow = flows_[channel];
    flow.touched = false;
    if (flow.next_rate == flow.rate) continue;
    flow.left_bytes = std::max(0.0, flow.left_bytes - (now_s - flow.since_s) * flow.rate);
    flow.since_s = now_s;
    flow.rate = flow.next_rate;
    flow.end_s = now_s + flow.left_bytes / flow.rate;
    if (channel != started) changed_.push_back(channel);
  }
}

}  // namespace motley

#include "motley/partitioner/parametric/chain.h"

#include <algorithm>
#include <cmath>

#include "motley/partitioner/space.h"

namespace motley::parametric {
namespace {

constexpr int kLengths = 3;  // lengths of a stage that are tried, from the longest that fits down
constexpr double kRounding = 1e-9;
constexpr double kStretch = 0.02;

}  // namespace

bool ChainBuilder::keeps_up(const State& state, const ChainLimits& limits, double behind, double work,
                            int depth) const {
  const double m = instance_.micro_batches;
  if (depth >= m) return true;
  const double stretched = ((m - 1.0) * limits.period - behind) / (m - depth);
  const double stretch = std::min(stretched / limits.period - 1.0, kStretch);
  // A maximum of straight lines lies below its chords.
  const double lag = state.lag + std::max(0.0, stretch) / kStretch * (state.lag_stretched - state.lag);
  const double period = limits.period * (1.0 + stretch);
  return std::max(lag + behind + work, work + (depth - 1) * period) <= depth * period * (1.0 + kRounding);
}

bool ChainBuilder::fits(const State& state, const ChainLimits& limits, int device, double send, int first,
                        double depth) const {
  const Instance& in = instance_;
  const int end = state.layer;
  const double memory = limits.memory_share * in.topology.memory[device];
  const double in_flight = std::min(depth, in.micro_batches);
  if (!limits.sure_to_fit) {
    const double unposted = in_flight == in.micro_batches ? in.posted_in[first] : 0.0;
    return in.fixed_memory(first, end) + in_flight * in.saved_of(first, end) - unposted <= memory;
  }
  double waiting = 0.0;  // messages of the warm-up that the next stage is too slow to take
  if (const double pace = std::max(state.forward, send); pace > 0.0) {
    const double taken = ((in_flight - 1.0) * in.forward_of(in.topology.type[device], first, end) - send) / pace;
    waiting = std::max(0.0, in_flight - 1.0 - std::max(0.0, taken));
  }
  return in.most_memory(first, end, in_flight) + waiting * in.posted_in[end] <= memory;
}

bool ChainBuilder::take(State& state, const ChainLimits& limits, int device, ChainStage& stage) const {
  const Instance& in = instance_;
  const int type = in.topology.type[device];
  const int end = state.layer;
  const double m = in.micro_batches;
  double messages = 0.0;
  double send = 0.0;
  if (state.device >= 0) {
    const double f = in.send_forward(device, state.device, end);
    const double b = in.send_backward(device, state.device, end);
    if (std::max(f, b) > limits.period) return false;
    messages = f + b;
    send = f;
  }
  const double behind = messages + state.round_trip;
  const int least_depth = state.depth + 1;

  // The longest stage that the period allows, were all its forwards done ahead, then the longest that fits.
  const double hidden_share = std::min(1.0, (least_depth + kMostExtraWarmUp - 1.0) / (m - 1.0));
  const std::vector<double>& work = in.work[type];
  const std::vector<double>& forward = in.forward[type];
  int first = end;
  {
    int low = 0;  // first layers in [low, first] remain possible
    while (low < first) {
      const int middle = (low + first) / 2;
      const double counted =
          work[end] - work[middle] + 2 * in.overhead - hidden_share * (forward[end] - forward[middle] + in.overhead);
      if (counted <= limits.period && fits(state, limits, device, send, middle, least_depth)) {
        first = middle;
      } else {
        low = middle + 1;
      }
    }
  }
  double most = 0.0;
  int chosen = -1;
  int chosen_depth = 0;
  for (int tried = 0; first + tried < end && tried < kLengths; ++tried) {
    const int from = first + tried;
    const double w = in.work_of(type, from, end);
    const double f = in.forward_of(type, from, end);
    int depth = least_depth;
    while (depth <= least_depth + kMostExtraWarmUp && !keeps_up(state, limits, behind, w, depth)) ++depth;
    const double excess = (m - 1.0) * (w - limits.period);
    if (excess > 0.0) depth = std::max(depth, 1 + static_cast<int>(std::ceil(excess / f - kRounding)));
    if (depth > least_depth + kMostExtraWarmUp) {
      if (excess > 0.0 || least_depth + kMostExtraWarmUp < in.count) continue;
      depth = least_depth;
    }
    if (!fits(state, limits, device, send, from, depth)) continue;
    const double price = limits.depth_price * std::max(0.0, 1.0 - state.depth / limits.depth_scale);
    const double value = values_[end] - values_[from] - price * (depth - state.depth);
    if (value > most) {
      most = value;
      chosen = from;
      chosen_depth = depth;
    }
  }
  if (chosen < 0) return false;
  stage = {device, chosen, end, chosen_depth};
  state.layer = chosen;
  state.depth = chosen_depth;
  state.device = device;
  ++state.stages;
  state.forward = in.forward_of(type, chosen, end);
  state.round_trip = behind + in.work_of(type, chosen, end);
  state.lag = std::max(state.lag, (chosen_depth - 1) * limits.period - behind);
  state.lag_stretched = std::max(state.lag_stretched, (chosen_depth - 1) * limits.period * (1.0 + kStretch) - behind);
  return true;
}

void ChainBuilder::extend(State& state, const ChainLimits& limits, std::span<const int> devices,
                          std::vector<ChainStage>* stages) const {
  ChainStage stage;
  for (const int device : devices) {
    if (state.layer == 0 || state.stages == most_stages_) return;
    if (take(state, limits, device, stage) && stages != nullptr) stages->push_back(stage);
  }
}

}  // namespace motley::parametric

#include "motley/partitioner/stage_tables.h"

#include <algorithm>

#include "motley/base/error.h"

namespace motley {
namespace {

bool limits_hosts(const ClusterProfile& cluster) {
  return std::any_of(cluster.hosts.begin(), cluster.hosts.end(),
                     [](const Host& host) { return host.send.value > 0.0 || host.receive.value > 0.0; });
}

/// Whether the measured groups stay the same, times included, when a and b are swapped.
bool sums_alike(const ClusterProfile& cluster, int a, int b) {
  return std::all_of(cluster.all_reduce.begin(), cluster.all_reduce.end(), [&](const AllReduce& group) {
    std::vector<int> swapped = group.devices;
    for (int& device : swapped) device = device == a ? b : device == b ? a : device;
    std::sort(swapped.begin(), swapped.end());
    return std::any_of(cluster.all_reduce.begin(), cluster.all_reduce.end(), [&](const AllReduce& other) {
      return other.devices == swapped && other.time.points() == group.time.points();
    });
  });
}

bool can_swap(const ClusterProfile& cluster, int a, int b) {
  const Device& first = cluster.devices[a];
  const Device& second = cluster.devices[b];
  if (first.type != second.type || first.memory != second.memory || first.usd_per_hour != second.usd_per_hour) {
    return false;
  }
  if (first.host != second.host && limits_hosts(cluster)) return false;
  const auto same = [&](int i, int j, int k, int l) {
    return cluster.links[i][j].points() == cluster.links[k][l].points();
  };
  if (!same(a, b, b, a)) return false;
  for (int other = 0; other < cluster.size(); ++other) {
    if (other == a || other == b) continue;
    if (!same(a, other, b, other) || !same(other, a, other, b)) return false;
  }
  return sums_alike(cluster, a, b);
}

}  // namespace

std::vector<std::vector<int>> interchangeable_devices(const ClusterProfile& cluster) {
  std::vector<std::vector<int>> classes;
  for (int device = 0; device < cluster.size(); ++device) {
    const auto found = std::find_if(classes.begin(), classes.end(), [&](const std::vector<int>& members) {
      return can_swap(cluster, members.front(), device);
    });
    if (found == classes.end()) {
      classes.push_back({device});
    } else {
      found->push_back(device);
    }
  }
  return classes;
}

StageTables::StageTables(const Profile& profile, const std::vector<std::vector<int>>& classes,
                         const TableRequest& request)
    : profile_(profile),
      request_(request),
      layers_(static_cast<int>(profile.model.layers.size())),
      overhead_(profile.cluster.action_overhead.value) {
  add_layers(profile.model);
  for (const std::vector<int>& members : classes) {
    add_class(profile, profile.cluster.devices[members.front()]);
    member_.push_back(members.front());
    other_member_.push_back(members.size() > 1 ? members[1] : members.front());
  }
  add_messages(classes);
  add_codecs();
}

void StageTables::add_layers(const ModelProfile& model) {
  parameters_.assign(width(), 0);
  resident_.assign(width(), 0);
  for (int layer = 0; layer < layers_; ++layer) {
    const LayerProfile& of = model.layers[layer];
    parameters_[layer + 1] = parameters_[layer] + of.parameters.value;
    resident_[layer + 1] = resident_[layer] + 2 * of.parameters.value + of.optimizer_state.value;
  }
  for (const std::int64_t samples : request_.shares) {
    const BetweenSizes at = model.between_sizes(samples);
    std::int64_t saved = 0;
    std::int64_t peak = 0;
    for (int layer = 0; layer <= layers_; ++layer) {
      saved_.push_back(saved);
      input_.push_back(layer == 0 ? 0 : forward_bytes(model.layers[layer - 1].output, samples).value);
      if (layer == layers_) break;
      const LayerMemory& a = model.layers[layer].memory[at.low];
      const LayerMemory& b = model.layers[layer].memory[at.high];
      saved += at.of(a.saved, b.saved).value;
      peak = std::max({peak, at.of(a.forward_peak, b.forward_peak).value, at.of(a.backward_peak, b.backward_peak).value,
                       at.of(a.backward_input_peak, b.backward_input_peak).value,
                       at.of(a.backward_weight_peak, b.backward_weight_peak).value});
    }
    most_peak_.push_back(peak);
  }
}

void StageTables::add_class(const Profile& profile, const Device& device) {
  const DeviceTimes& times = profile.model.device(device.type).busy;
  capacity_.push_back((device.memory - profile.model.base_memory).value);
  usd_per_hour_.push_back(device.usd_per_hour);
  for (const std::int64_t samples : request_.shares) {
    const BetweenSizes at = profile.model.between_sizes(samples);
    double forward = 0.0;
    double backward = 0.0;
    double weight = 0.0;
    for (int layer = 0; layer <= layers_; ++layer) {
      forward_.push_back(forward);
      backward_.push_back(backward);
      weight_.push_back(weight);
      if (layer == layers_) break;
      const LayerTimes& a = times.by_size[at.low][layer];
      const LayerTimes& b = times.by_size[at.high][layer];
      forward += at.of(a.forward, b.forward).value;
      backward +=
          request_.apart ? at.of(a.backward_input, b.backward_input).value : at.of(a.backward, b.backward).value;
      weight += at.of(a.backward_weight, b.backward_weight).value;
    }
  }
  double update = 0.0;
  for (int layer = 0; layer <= layers_; ++layer) {
    update_.push_back(update);
    if (layer < layers_) update += times.update[layer].value;
  }
}

std::size_t StageTables::link(Pass pass, int from, int to, int cut, int wire) const {
  const std::size_t by_pass = static_cast<std::size_t>(pass) * request_.wires.size() + static_cast<std::size_t>(wire);
  return ((by_pass * capacity_.size() + static_cast<std::size_t>(from)) * capacity_.size() +
          static_cast<std::size_t>(to)) *
             width() +
         static_cast<std::size_t>(cut);
}

void StageTables::add_messages(const std::vector<std::vector<int>>& classes) {
  whole_.assign(2 * request_.wires.size() * classes.size() * classes.size() * width(), 0.0);
  for (const Pass pass : {Pass::Forward, Pass::Backward}) {
    for (int wire = 0; wire < wires(); ++wire) {
      for (int cut = 1; cut < layers_; ++cut) {
        const Bytes bytes{message_bytes(pass, cut, request_.size, wire)};
        for (int from = 0; from < static_cast<int>(classes.size()); ++from) {
          for (int to = 0; to < static_cast<int>(classes.size()); ++to) {
            if (from == to && classes[from].size() < 2) continue;
            const int receiver = from == to ? other_member_[to] : member_[to];
            whole_[link(pass, from, to, cut, wire)] = profile_.cluster.links[member_[from]][receiver].time(bytes).value;
          }
        }
      }
    }
  }
}

std::size_t StageTables::end_of_link(Pass pass, int c, int cut, int wire) const {
  const std::size_t by_pass = static_cast<std::size_t>(pass) * request_.wires.size() + static_cast<std::size_t>(wire);
  return (by_pass * capacity_.size() + static_cast<std::size_t>(c)) * width() + static_cast<std::size_t>(cut);
}

void StageTables::add_codecs() {
  if (std::none_of(request_.wires.begin(), request_.wires.end(),
                   [&](const std::string& wire) { return profile_.model.has_codec(wire); })) {
    return;
  }
  encoding_.assign(2 * request_.wires.size() * capacity_.size() * width(), 0.0);
  decoding_ = encoding_;
  for (const Pass pass : {Pass::Forward, Pass::Backward}) {
    for (int wire = 0; wire < wires(); ++wire) {
      for (int c = 0; c < static_cast<int>(capacity_.size()); ++c) {
        for (int cut = 1; cut < layers_; ++cut) {
          const std::size_t at = end_of_link(pass, c, cut, wire);
          encoding_[at] = codec_time(&Codec::encode, pass, c, cut, request_.size, wire);
          decoding_[at] = codec_time(&Codec::decode, pass, c, cut, request_.size, wire);
        }
      }
    }
  }
}

int StageTables::share(std::int64_t samples) const {
  const auto found = std::find(request_.shares.begin(), request_.shares.end(), samples);
  MOTLEY_CHECK(found != request_.shares.end(), "{} samples were not asked for", samples);
  return static_cast<int>(found - request_.shares.begin());
}

std::int64_t StageTables::message_bytes(Pass pass, int cut, std::int64_t samples, int wire) const {
  return wire_bytes(profile_.model.layers[cut - 1].output, samples, request_.wires[wire], pass).value;
}

double StageTables::transfer(Pass pass, int from, int to, int cut, std::int64_t samples, int wire) const {
  if (samples == request_.size) return whole_[link(pass, from, to, cut, wire)];
  const int receiver = from == to ? other_member_[to] : member_[to];
  return profile_.cluster.links[member_[from]][receiver].time(Bytes{message_bytes(pass, cut, samples, wire)}).value;
}

double StageTables::codec_time(TransferCurve Codec::*side, Pass pass, int c, int cut, std::int64_t samples,
                               int wire) const {
  const auto& codecs = profile_.model.device(profile_.cluster.devices[member_[c]].type).codecs;
  const auto codec = codecs.find(request_.wires[wire]);
  if (codec == codecs.end()) return 0.0;
  return (codec->second.*side).time(wire_bytes(profile_.model.layers[cut - 1].output, samples, "float32", pass)).value;
}

std::int64_t StageTables::memory(int share, int first, int end, std::int64_t in_flight, bool recompute) const {
  const std::int64_t saved = kept(share, first, end, false);
  if (!recompute) return resident(first, end) + in_flight * saved;
  const std::int64_t input = kept(share, first, end, true);
  return resident(first, end) + (in_flight - 1) * input + std::max(saved, input);
}

std::int64_t StageTables::memory_at_most(int share, int first, int end, std::int64_t in_flight,
                                         std::int64_t micro_batches) const {
  const std::size_t at = static_cast<std::size_t>(share) * width();
  // Int8 makes 68 bytes of a single value.
  const std::int64_t padding = wires() > 1 ? 17 : 1;
  const std::int64_t before = padding * input_[at + first];
  const std::int64_t after = end < layers_ ? padding * input_[at + end] : 0;
  // One micro-batch is in a pass and may have its peak, the others what they saved. Messages: outputs and their answers
  // of those in flight, two receives posted ahead each way, gradients that wait to leave.
  return resident(first, end) + (in_flight + 1) * kept(share, first, end, false) + most_peak_[share] +
         (in_flight + 2) * 2 * after + (in_flight + 2) * before + micro_batches * before;
}

}  // namespace motley

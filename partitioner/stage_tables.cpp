#include "motley/partitioner/stage_tables.h"

#include <algorithm>

namespace motley {
namespace {

bool can_swap(const ClusterProfile& cluster, int a, int b) {
  const Device& first = cluster.devices[a];
  const Device& second = cluster.devices[b];
  if (first.type != second.type || first.memory != second.memory) return false;
  const auto same = [&](int i, int j, int k, int l) {
    return cluster.links[i][j].points() == cluster.links[k][l].points();
  };
  if (!same(a, b, b, a)) return false;
  for (int other = 0; other < cluster.size(); ++other) {
    if (other == a || other == b) continue;
    if (!same(a, other, b, other) || !same(other, a, other, b)) return false;
  }
  return true;
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

StageTables::StageTables(const Profile& profile, std::int64_t size, const std::vector<std::vector<int>>& classes)
    : layers_(static_cast<int>(profile.model.layers.size())), classes_(static_cast<int>(classes.size())) {
  const ModelProfile& model = profile.model;
  const std::size_t index = model.size_index(size);
  const std::size_t row = static_cast<std::size_t>(layers_) + 1;
  resident_.assign(row, 0);
  saved_.assign(row, 0);
  for (int layer = 0; layer < layers_; ++layer) {
    const LayerProfile& of = model.layers[layer];
    resident_[layer + 1] = resident_[layer] + 2 * of.parameters.value + of.optimizer_state.value;
    saved_[layer + 1] = saved_[layer] + of.memory[index].saved.value;
  }
  for (const std::vector<int>& members : classes) {
    const Device& device = profile.cluster.devices[members.front()];
    const DeviceTimes& times = model.device(device.type).busy;
    capacity_.push_back((device.memory - model.base_memory).value);
    double forward = 0.0;
    double backward = 0.0;
    double update = 0.0;
    for (int layer = 0; layer <= layers_; ++layer) {
      forward_.push_back(forward);
      backward_.push_back(backward);
      update_.push_back(update);
      if (layer == layers_) break;
      forward += times.by_size[index][layer].forward.value;
      backward += times.by_size[index][layer].backward.value;
      update += times.update[layer].value;
    }
  }
  send_forward_.assign(classes.size() * classes.size() * row, 0.0);
  send_backward_ = send_forward_;
  for (int a = 0; a < classes_; ++a) {
    for (int b = 0; b < classes_; ++b) {
      if (a == b && classes[a].size() < 2) continue;
      const int from = classes[a].front();
      const int to = a == b ? classes[b][1] : classes[b].front();
      for (int cut = 1; cut < layers_; ++cut) {
        const Boundary& boundary = model.layers[cut - 1].output;
        send_forward_[link(a, b, cut)] = profile.cluster.links[from][to].time(forward_bytes(boundary, size)).value;
        send_backward_[link(a, b, cut)] = profile.cluster.links[to][from].time(backward_bytes(boundary, size)).value;
      }
    }
  }
}

}  // namespace motley

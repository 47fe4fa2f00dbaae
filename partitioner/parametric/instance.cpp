#include "motley/partitioner/parametric/instance.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <thread>

#include "motley/base/error.h"
#include "motley/partitioner/space.h"

namespace motley::parametric {
namespace {

constexpr std::size_t kBlocks = 128;  // about so many, where there are fewer hosts

}  // namespace

LinkTimes::LinkTimes(const ClusterProfile& cluster, std::vector<Bytes> amounts) : amounts_(std::move(amounts)) {
  std::sort(amounts_.begin(), amounts_.end());
  amounts_.erase(std::unique(amounts_.begin(), amounts_.end()), amounts_.end());
  const auto devices = static_cast<std::size_t>(cluster.size());
  if (devices * devices * amounts_.size() > kMostTimes) return;
  times_.assign(amounts_.size(), std::vector<double>(devices * devices, 0.0));
  const auto fill = [&](std::size_t first, std::size_t end) {
    for (std::size_t from = first; from < end; ++from) {
      for (std::size_t to = 0; to < devices; ++to) {
        if (from == to) continue;
        const TransferCurve& link = cluster.links[from][to];
        for (std::size_t a = 0; a < amounts_.size(); ++a) times_[a][from * devices + to] = link.time(amounts_[a]).value;
      }
    }
  };
  std::jthread other(fill, 0, devices / 2);
  fill(devices / 2, devices);
}

const double* LinkTimes::of(Bytes amount) const {
  if (times_.empty()) return nullptr;
  const auto found = std::lower_bound(amounts_.begin(), amounts_.end(), amount);
  MOTLEY_CHECK(found != amounts_.end() && *found == amount, "no link times for {} bytes", amount.value);
  return times_[static_cast<std::size_t>(found - amounts_.begin())].data();
}

Topology::Topology(const Profile& profile) {
  std::map<std::string, int> type_index;
  std::map<std::string, int> host_index;
  for (const Device& device : profile.cluster.devices) {
    const auto [of_type, new_type] = type_index.emplace(device.type, static_cast<int>(type_index.size()));
    if (new_type) busy.push_back(&profile.model.device(device.type).busy);
    const auto [of_host, new_host] = host_index.emplace(device.host, static_cast<int>(host_index.size()));
    if (new_host) hosts.emplace_back();
    hosts[of_host->second].push_back(static_cast<int>(type.size()));
    type.push_back(of_type->second);
    host.push_back(of_host->second);
    memory.push_back(static_cast<double>((device.memory - profile.model.base_memory).value));
  }
  const std::size_t of_block = std::max<std::size_t>(1, type.size() / kBlocks);
  block.assign(type.size(), 0);
  for (const std::vector<int>& devices : hosts) {
    for (std::size_t i = 0; i < devices.size(); ++i) {
      if (i % of_block == 0) blocks.emplace_back();
      blocks.back().push_back(devices[i]);
      block[devices[i]] = static_cast<int>(blocks.size()) - 1;
    }
  }
}

AfterBackwards least_after_backwards(const Profile& profile, const Topology& topology, bool clip) {
  double longest = 0.0;
  double shortest = std::numeric_limits<double>::infinity();
  for (std::size_t l = 0; l < profile.model.layers.size(); ++l) {
    double least = std::numeric_limits<double>::infinity();
    for (const DeviceTimes* times : topology.busy) least = std::min(least, times->update[l].value);
    longest = std::max(longest, least);
    shortest = std::min(shortest, least);
  }
  const double overhead = profile.cluster.action_overhead.value;
  if (!clip) return {overhead + shortest, std::numeric_limits<double>::infinity()};
  return {overhead + profile.cluster.norm_exchange.value + longest, longest};
}

Instance::Instance(const Profile& profile, const Topology& shared, const LinkTimes& links, std::int64_t batch_size,
                   std::int64_t global_batch)
    : topology(shared),
      cluster(profile.cluster),
      size(batch_size),
      count(global_batch / batch_size),
      micro_batches(static_cast<double>(count)),
      layers(static_cast<int>(profile.model.layers.size())),
      devices(profile.cluster.devices.size()),
      overhead(profile.cluster.action_overhead.value) {
  const ModelProfile& model = profile.model;
  const std::size_t index = model.size_index(size);
  const std::size_t row = static_cast<std::size_t>(layers) + 1;
  for (const DeviceTimes* times : topology.busy) {
    std::vector<double>& works = work.emplace_back(row, 0.0);
    std::vector<double>& forwards = forward.emplace_back(row, 0.0);
    std::vector<double>& updates = update.emplace_back(row, 0.0);
    for (int l = 0; l < layers; ++l) {
      const LayerTimes& of = times->by_size[index][l];
      forwards[l + 1] = forwards[l] + of.forward.value;
      updates[l + 1] = updates[l] + times->update[l].value;
      works[l + 1] = works[l] + of.forward.value + of.backward.value;
    }
  }
  resident.assign(row, 0.0);
  saved.assign(row, 0.0);
  forward_amounts.assign(row, Bytes{});
  backward_amounts.assign(row, Bytes{});
  forward_times.assign(row, nullptr);
  backward_times.assign(row, nullptr);
  posted_in.assign(row, 0.0);
  posted_out.assign(row, 0.0);
  double passes = 0.0;
  double buffers = 0.0;
  for (int l = 0; l < layers; ++l) {
    const LayerProfile& layer = model.layers[l];
    const LayerMemory& memory = layer.memory[index];
    resident[l + 1] = resident[l] + static_cast<double>((2 * layer.parameters + layer.optimizer_state).value);
    saved[l + 1] = saved[l] + static_cast<double>(memory.saved.value);
    const Bytes peak = std::max(memory.forward_peak, memory.backward_peak);
    passes = std::max(passes, static_cast<double>((peak - memory.saved).value));
    if (l + 1 == layers) break;
    forward_amounts[l + 1] = forward_bytes(layer.output, size);
    backward_amounts[l + 1] = backward_bytes(layer.output, size);
    forward_times[l + 1] = links.of(forward_amounts[l + 1]);
    backward_times[l + 1] = links.of(backward_amounts[l + 1]);
    posted_in[l + 1] = static_cast<double>(forward_amounts[l + 1].value);
    posted_out[l + 1] = static_cast<double>(std::min<std::int64_t>(2, count) * backward_amounts[l + 1].value);
    buffers = std::max(buffers, static_cast<double>((forward_amounts[l + 1] + backward_amounts[l + 1]).value));
  }
  // Either side of a stage has two receives posted ahead, and on their way at most as many messages as the depths of
  // neighbours differ by, and one more.
  excess = passes + buffers * (2 + 2 + kMostExtraWarmUp);
}

double Instance::longest_iteration() const {
  double round_trip = 0.0;
  for (int l = 0; l < layers; ++l) {
    double slowest = 0.0;
    for (const std::vector<double>& of : work) slowest = std::max(slowest, of[l + 1] - of[l]);
    round_trip += slowest + 2.0 * overhead;
  }
  const Bytes largest = *std::max_element(forward_amounts.begin(), forward_amounts.end());
  double slowest_messages = 0.0;
  for (const std::vector<TransferCurve>& row : cluster.links) {
    for (const TransferCurve& link : row) {
      if (!link.points().empty()) slowest_messages = std::max(slowest_messages, link.time(largest).value);
    }
  }
  return micro_batches * (round_trip + 2.0 * (layers - 1) * slowest_messages);
}

std::vector<Bytes> Instance::amounts(const ModelProfile& model, std::int64_t size) {
  std::vector<Bytes> all;
  for (std::size_t l = 0; l + 1 < model.layers.size(); ++l) {
    all.push_back(forward_bytes(model.layers[l].output, size));
    all.push_back(backward_bytes(model.layers[l].output, size));
  }
  return all;
}

}  // namespace motley::parametric

#include "motley/plan/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/plan/limits.h"

namespace motley {
namespace {

void check_times(const DeviceTimes& times, const ModelProfile& model, const std::string& where) {
  if (times.by_size.size() != model.micro_batch_sizes.size()) {
    throw InputError::of("{}: found {} tables, expected one for each of {} micro-batch sizes", where,
                         times.by_size.size(), model.micro_batch_sizes.size());
  }
  if (times.update.size() != model.layers.size()) {
    throw InputError::of("{}.update: found {} entries, expected {} (one a layer)", where, times.update.size(),
                         model.layers.size());
  }
  for (std::size_t size = 0; size < times.by_size.size(); ++size) {
    if (times.by_size[size].size() != model.layers.size()) {
      throw InputError::of("{}: micro-batch size {}: found {} layers, expected {}", where,
                           model.micro_batch_sizes[size], times.by_size[size].size(), model.layers.size());
    }
    for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
      const LayerTimes& t = times.by_size[size][layer];
      const std::string place = where + ": layer " + model.layers[layer].name;
      check_time(t.forward, place + ": forward");
      if (t.forward.value == 0.0) {
        throw InputError::of("{}: forward: found 0 s, expected more: a layer that runs takes time", place);
      }
      check_time(t.backward, place + ": backward");
      check_time(t.backward_input, place + ": backward_input");
      check_time(t.backward_weight, place + ": backward_weight");
    }
  }
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    check_time(times.update[layer], where + ": layer " + model.layers[layer].name + ": update");
  }
}

void check_codecs(const DeviceTable& table, const std::string& where) {
  const auto formats = wire_formats();
  const auto expect_format = [&](const std::string& wire, const char* field) {
    if (std::find(formats.begin(), formats.end(), wire) == formats.end()) {
      throw InputError::of("{}.{}: found \"{}\", expected {}", where, field, wire,
                           one_of(wire, {formats.begin(), formats.end()}));
    }
  };
  for (const std::string& wire : table.lacks) {
    expect_format(wire, "lacks");
    if (wire == "float32" || table.codecs.contains(wire)) {
      throw InputError::of("{}.lacks: found \"{}\", expected formats without codec other than float32", where, wire);
    }
  }
  for (const auto& [wire, codec] : table.codecs) {
    expect_format(wire, "codecs");
    if (codec.encode.points().empty() || codec.decode.points().empty()) {
      throw InputError::of("{}.codecs.{}: no measurement, expected at least one point each", where, wire);
    }
  }
}

void check_burst(const Burst& burst, const std::string& where) {
  if (!std::isfinite(burst.credit.value) || burst.credit.value < 0.0) {
    throw InputError::of("{}.burst.credit_s: found {}, expected seconds, or 0 for none", where, burst.credit.value);
  }
  if (!std::isfinite(burst.speed_up) || burst.speed_up < 1.0) {
    throw InputError::of("{}.burst.speed_up: found {}, expected at least 1", where, burst.speed_up);
  }
}

void check_hosts(const ClusterProfile& cluster, const std::string& source) {
  std::set<std::string> named;
  for (std::size_t h = 0; h < cluster.hosts.size(); ++h) {
    const Host& host = cluster.hosts[h];
    const std::string where = fmt::format("{}: cluster.hosts[{}]", source, h);
    if (!named.insert(host.name).second) {
      throw InputError::of("{}: \"{}\" stands there twice, expected distinct names", where, host.name);
    }
    if (std::none_of(cluster.devices.begin(), cluster.devices.end(),
                     [&](const Device& device) { return device.host == host.name; })) {
      throw InputError::of("{}: no device is on \"{}\", expected a host of cluster.devices", where, host.name);
    }
    for (const BytesPerSecond rate : {host.send, host.receive}) {
      if (!std::isfinite(rate.value) || rate.value < 0.0) {
        throw InputError::of("{}: found {} bytes/s, expected a rate, or 0 for none", where, rate.value);
      }
    }
  }
}

void check_transports(const ClusterProfile& cluster, const std::string& source) {
  const auto names = transport_names().subspan(1);  // without "auto"
  for (std::size_t i = 0; i < cluster.transports.size(); ++i) {
    const MeasuredTransport& measured = cluster.transports[i];
    const std::string where = fmt::format("{}: cluster.transports[{}]", source, i);
    for (const int device : {measured.from, measured.to}) {
      if (device < 0 || device >= cluster.size() || measured.from == measured.to) {
        throw InputError::of("{}: found devices {} and {}, expected two of 0 to {}", where, measured.from, measured.to,
                             cluster.size() - 1);
      }
    }
    if (std::find(names.begin(), names.end(), measured.transport) == names.end()) {
      throw InputError::of("{}.transport: found \"{}\", expected one of {}", where, measured.transport,
                           fmt::join(names, ", "));
    }
    if (measured.time.points().empty()) {
      throw InputError::of("{}.time: no measurement, expected at least one point", where);
    }
  }
}

/// That no sum of bytes over layers overflows.
void check_sums(const ModelProfile& model, const std::string& source) {
  ByteSum sum(source, "model.layers");
  for (const LayerProfile& layer : model.layers) {
    const std::string item = "layer " + layer.name;
    sum.add(layer.parameters, item);
    sum.add(layer.optimizer_state, item);
    for (const LayerMemory& of : layer.memory) {
      for (const Bytes bytes :
           {of.saved, of.queued, of.forward_peak, of.backward_input_peak, of.backward_weight_peak, of.backward_peak}) {
        sum.add(bytes, item);
      }
    }
  }
  ByteSum(source, "model.base_bytes").add(model.base_memory, "the data that every rank holds");
}

}  // namespace

void validate(const Profile& profile, const std::string& source) {
  const ModelProfile& model = profile.model;
  const ClusterProfile& cluster = profile.cluster;
  if (model.layers.empty()) {
    throw InputError::of("{}: model.layers: found none, expected at least one layer", source);
  }
  if (model.micro_batch_sizes.empty()) {
    throw InputError::of("{}: model.micro_batch_sizes: found none, expected at least one", source);
  }
  for (std::size_t i = 0; i < model.micro_batch_sizes.size(); ++i) {
    if (model.micro_batch_sizes[i] < 1 || (i > 0 && model.micro_batch_sizes[i] <= model.micro_batch_sizes[i - 1])) {
      throw InputError::of("{}: model.micro_batch_sizes[{}]: found {}, expected positive sizes in ascending order",
                           source, i, model.micro_batch_sizes[i]);
    }
  }
  for (const LayerProfile& layer : model.layers) {
    if (layer.memory.size() != model.micro_batch_sizes.size()) {
      throw InputError::of("{}: layer {}: memory has {} entries, expected one for each of {} micro-batch sizes", source,
                           layer.name, layer.memory.size(), model.micro_batch_sizes.size());
    }
  }
  check_sums(model, source);
  if (cluster.devices.empty()) {
    throw InputError::of("{}: cluster.devices: found none, expected at least one", source);
  }
  std::set<std::string> names;
  std::set<std::string> types;
  for (const Device& device : cluster.devices) {
    if (!names.insert(device.name).second) {
      throw InputError::of("{}: cluster.devices: \"{}\" stands there twice, expected distinct names", source,
                           device.name);
    }
    if (device.memory.value <= 0) {
      throw InputError::of("{}: cluster.devices: {}: memory is {} bytes, expected more than 0", source, device.name,
                           device.memory.value);
    }
    const DeviceTable& table = [&]() -> const DeviceTable& {
      const auto found = model.devices.find(device.type);
      if (found == model.devices.end()) {
        throw InputError::of("{}: cluster.devices: {} has type \"{}\", which model.devices lacks", source, device.name,
                             device.type);
      }
      return found->second;
    }();
    if (types.insert(device.type).second) {
      const std::string where = source + ": model.devices." + device.type;
      check_times(table.alone, model, where + ".alone");
      check_times(table.busy, model, where + ".busy");
      check_codecs(table, where);
      check_burst(table.burst, where);
    }
    if (!std::isfinite(device.usd_per_hour) || device.usd_per_hour < 0.0) {
      throw InputError::of("{}: cluster.devices: {}: usd_per_hour is {}, expected a price, or 0 for none", source,
                           device.name, device.usd_per_hour);
    }
  }
  check_hosts(cluster, source);
  const std::size_t n = cluster.devices.size();
  if (cluster.links.size() != n) {
    throw InputError::of("{}: cluster.links: found {} rows, expected {} (one a device)", source, cluster.links.size(),
                         n);
  }
  for (std::size_t from = 0; from < n; ++from) {
    if (cluster.links[from].size() != n) {
      throw InputError::of("{}: cluster.links[{}]: found {} entries, expected {}", source, from,
                           cluster.links[from].size(), n);
    }
    for (std::size_t to = 0; to < n; ++to) {
      if (from != to && cluster.links[from][to].points().empty()) {
        throw InputError::of("{}: cluster.links[{}][{}]: no measurement, expected at least one point", source, from,
                             to);
      }
    }
  }
  check_transports(cluster, source);
  for (std::size_t g = 0; g < cluster.all_reduce.size(); ++g) {
    const AllReduce& group = cluster.all_reduce[g];
    const std::string where = fmt::format("{}: cluster.all_reduce[{}]", source, g);
    if (group.devices.size() < 2 || group.time.points().empty()) {
      throw InputError::of("{}: found {} devices and {} points, expected at least two and one", where,
                           group.devices.size(), group.time.points().size());
    }
    for (std::size_t i = 0; i < group.devices.size(); ++i) {
      if (group.devices[i] < 0 || group.devices[i] >= static_cast<int>(n) ||
          (i > 0 && group.devices[i] <= group.devices[i - 1])) {
        throw InputError::of("{}.devices[{}]: found {}, expected ascending devices from 0 to {}", where, i,
                             group.devices[i], n - 1);
      }
    }
  }
  check_time(cluster.action_overhead, source + ": cluster.action_overhead_s");
  check_time(cluster.norm_exchange, source + ": cluster.norm_exchange_s");
}

void check_wires(const Plan& plan, const Profile& profile, const std::string& source) {
  for_each_edge_end(plan, [&](int stage, int end) {
    const std::string& wire = plan.stages[static_cast<std::size_t>(stage)].wire;
    const Device& device = profile.cluster.devices.at(static_cast<std::size_t>(end));
    if (!profile.model.device(device.type).can_encode(wire)) {
      throw InputError::of(
          "{}: stages[{}].wire: found \"{}\", expected a format that both ends have: {}, of type {}, lacks it", source,
          stage, wire, device.name, device.type);
    }
  });
}

}  // namespace motley

#include <fmt/format.h>

#include <algorithm>

#include "motley/launcher/show.h"
#include "motley/plan/transports.h"

namespace motley {
namespace {

std::string layers_table(const ModelProfile& model, const std::string& type, const DeviceTable& table) {
  const std::size_t largest = model.micro_batch_sizes.size() - 1;
  std::string text =
      fmt::format("\n{} at micro-batch size {}, all ranks busy (ms)\n", type, model.micro_batch_sizes[largest]);
  text += fmt::format("  {:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>11} {:>10}\n", "layer", "forward", "backward",
                      "input", "weight", "update", "spread", "param. MB", "saved MB");
  LayerTimes sum;
  Seconds updates;
  Bytes parameters;
  Bytes saved;
  const auto row = [&](const std::string& name, const LayerTimes& t, Seconds update, double spread, Bytes weights,
                       Bytes kept) {
    return fmt::format("  {:<12} {:>9.3f} {:>9.3f} {:>9.3f} {:>9.3f} {:>9.3f} {:>6.0f}% {:>11.3f} {:>10.3f}\n", name,
                       t.forward.value * 1e3, t.backward.value * 1e3, t.backward_input.value * 1e3,
                       t.backward_weight.value * 1e3, update.value * 1e3, spread * 100,
                       static_cast<double>(weights.value) / 1e6, static_cast<double>(kept.value) / 1e6);
  };
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    const LayerTimes& t = table.busy.by_size[largest][layer];
    const LayerProfile& of = model.layers[layer];
    text += row(of.name, t, table.busy.update[layer], t.spread, of.parameters, of.memory[largest].saved);
    sum.forward += t.forward;
    sum.backward += t.backward;
    sum.backward_input += t.backward_input;
    sum.backward_weight += t.backward_weight;
    sum.spread = std::max(sum.spread, t.spread);
    updates += table.busy.update[layer];
    parameters += of.parameters;
    saved += of.memory[largest].saved;
  }
  text += row("all", sum, updates, sum.spread, parameters, saved);
  if (table.burst.credit > Seconds{}) {
    text += fmt::format("  after a pause {:.2f} times as fast until {:.1f} ms ahead\n", table.burst.speed_up,
                        table.burst.credit.value * 1e3);
  }
  return text;
}

std::string links_matrix(const ClusterProfile& cluster) {
  constexpr Bytes kKilobyte{1'024};
  constexpr Bytes kMegabyte{1'000'000};
  std::string text = "\nlinks, row to column: ms for 1 KB / MB per second at 1 MB\n          ";
  for (const Device& device : cluster.devices) {
    text += fmt::format("{:>18}", device.name);
  }
  text += '\n';
  for (std::size_t from = 0; from < cluster.devices.size(); ++from) {
    text += fmt::format("  {:<8}", cluster.devices[from].name);
    for (std::size_t to = 0; to < cluster.devices.size(); ++to) {
      const TransferCurve& link = cluster.links[from][to];
      text += from == to ? fmt::format("{:>18}", "-")
                         : fmt::format("{:>9.3f} /{:>7.1f}", link.time(kKilobyte).value * 1e3,
                                       1.0 / link.time(kMegabyte).value);
    }
    text += '\n';
  }
  return text;
}

/// Where GPUs have several transports between them: the one that the links are of, and what the others take.
std::string transports_list(const ClusterProfile& cluster) {
  constexpr Bytes kMegabyte{1'000'000};
  std::string text = cluster.transports.empty() ? "" : "\ntransports, ms for 1 MB\n";
  for (const MeasuredTransport& measured : cluster.transports) {
    const bool faster = measured.transport == faster_transport(cluster.transports, measured.from, measured.to);
    text += fmt::format("  {:<8} to {:<8} {:<4} {:>9.3f}{}\n",
                        cluster.devices[static_cast<std::size_t>(measured.from)].name,
                        cluster.devices[static_cast<std::size_t>(measured.to)].name, measured.transport,
                        measured.time.time(kMegabyte).value * 1e3, faster ? ", the link" : "");
  }
  return text;
}

}  // namespace

std::string in_words(const Profile& profile) {
  const ModelProfile& model = profile.model;
  std::string text = fmt::format("profile of {}: {} layers, {} devices{}\n", model.name, model.layers.size(),
                                 profile.cluster.size(), profile.cluster.emulated ? " (emulated)" : "");
  if (!profile.cluster.note.empty()) {
    text += "note: " + profile.cluster.note + '\n';
  }
  for (const Device& device : profile.cluster.devices) {
    text += fmt::format("  {:<8} {} on {}, {:.0f} MB{}\n", device.name, device.type, device.host,
                        static_cast<double>(device.memory.value) / 1e6,
                        device.libraries.value == 0 ? ""
                                                    : fmt::format(" beside {:.0f} MB of CUDA's libraries",
                                                                  static_cast<double>(device.libraries.value) / 1e6));
  }
  for (const auto& [type, table] : model.devices) {
    text += layers_table(model, type, table);
  }
  return text + links_matrix(profile.cluster) + transports_list(profile.cluster);
}

}  // namespace motley

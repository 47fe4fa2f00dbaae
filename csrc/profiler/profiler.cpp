#include "motley/profiler/profiler.h"

#include <algorithm>
#include <array>
#include <set>

#include "motley/base/error.h"
#include "motley/base/host_name.h"
#include "motley/base/median.h"
#include "motley/comm/abort_on_throw.h"
#include "motley/comm/gather.h"
#include "motley/profiler/bursts.h"
#include "motley/profiler/codecs.h"
#include "motley/profiler/layers.h"
#include "motley/profiler/links.h"
#include "motley/profiler/message_costs.h"

namespace motley {
namespace {

constexpr int kLinkRepeats = 5;
constexpr int kCodecRepeats = 9;
constexpr Seconds kMessageSpan{0.02};  // a repeat

std::vector<double> flatten(const DeviceTimes& times) {
  std::vector<double> flat;
  for (const auto& row : times.by_size) {
    for (const LayerTimes& t : row) {
      flat.insert(flat.end(),
                  {t.forward.value, t.backward_input.value, t.backward_weight.value, t.backward.value, t.spread});
    }
  }
  for (const Seconds update : times.update) {
    flat.push_back(update.value);
  }
  return flat;
}

DeviceTimes unflatten(const std::vector<double>& flat, std::size_t sizes, std::size_t layers) {
  DeviceTimes times;
  const double* next = flat.data();
  for (std::size_t size = 0; size < sizes; ++size) {
    auto& row = times.by_size.emplace_back();
    for (std::size_t layer = 0; layer < layers; ++layer, next += 5) {
      row.push_back({Seconds{next[0]}, Seconds{next[1]}, Seconds{next[2]}, Seconds{next[3]}, next[4]});
    }
  }
  for (std::size_t layer = 0; layer < layers; ++layer) {
    times.update.push_back({*next++});
  }
  return times;
}

/// Each rank loads the machine until every rank has its repeats: one that is through passes its mark on and goes on.
/// `mark` and `marks` are the messages; they outlive a failure.
MeasuredTimes times_while_all_are_busy(Communicator& communicator, LayerMeter& meter, std::int64_t repeats,
                                       std::span<const std::byte> mark, std::vector<std::array<std::byte, 1>>& marks) {
  std::vector<Work> arrivals;
  std::vector<Work> sent;
  const auto for_each_other = [&](auto&& action) {
    for (int other = 0; other < communicator.size(); ++other) {
      if (other != communicator.rank()) {
        action(other);
      }
    }
  };
  for_each_other([&](int other) {
    arrivals.push_back(communicator.from(other).receive(marks[static_cast<std::size_t>(other)], "busy mark"));
  });
  const MeasuredTimes times = meter.times(repeats, [&] {
    if (sent.empty()) {
      for_each_other([&](int other) { sent.push_back(communicator.to(other).send(mark, "busy mark")); });
    }
    return std::all_of(arrivals.begin(), arrivals.end(), [](const Work& work) { return work.done(); });
  });
  for (Work& work : sent) {
    work.wait();
  }
  for (Work& work : arrivals) {
    work.wait();
  }
  return times;
}

/// What the engine itself does around an action, without the layers' work.
Seconds measure_bookkeeping(Communicator& communicator) {
  std::vector<double> times;
  Pacer none;
  constexpr int kBatch = 100;
  for (int i = 0; i < 20; ++i) {
    const Seconds start = communicator.now();
    for (int j = 0; j < kBatch; ++j) {
      communicator.set_progress("overhead probe");
      (void)communicator.now();
      none.run([] {});
      (void)communicator.now();
    }
    times.push_back((communicator.now() - start).value / kBatch);
  }
  return {spread_of(times).median};
}

/// Groups that a stage is likely to be replicated over: all devices, and those of each type.
std::vector<std::vector<int>> likely_replicas(const std::vector<std::string>& types) {
  std::map<std::string, std::vector<int>> by_type;
  std::vector<int> all;
  for (int rank = 0; rank < static_cast<int>(types.size()); ++rank) {
    by_type[types[static_cast<std::size_t>(rank)]].push_back(rank);
    all.push_back(rank);
  }
  std::vector<std::vector<int>> groups;
  if (all.size() > 1) {
    groups.push_back(all);
  }
  for (const auto& [type, ranks] : by_type) {
    if (ranks.size() > 1 && ranks.size() < all.size()) {
      groups.push_back(ranks);
    }
  }
  return groups;
}

}  // namespace

Profile measure(Communicator& communicator, const Workload& workload, ComputeDevice& device, Pacer pacer,
                const ProfilerOptions& options, const std::function<void(const std::string&)>& progress) {
  const int ranks = communicator.size();
  const int rank = communicator.rank();
  const std::size_t sizes = options.micro_batch_sizes.size();
  const std::size_t layers = workload.layers.size();

  const std::vector<std::string> types = gather(communicator, options.device_type, "device types");
  const std::vector<std::string> hosts = gather(communicator, host_name(), "hosts");
  const std::vector<double> limits =
      gather(communicator, std::vector{static_cast<double>(options.memory.value)}, "memory limits");

  progress("memory of every layer");
  const Bytes base_memory = device.memory().live;  // the data: no layer exists yet
  LayerMeter meter(workload, device, pacer, options.seed, options.optimizer, options.micro_batch_sizes);
  std::vector<LayerProfile> layer_profiles = meter.memory();

  // The others keep still while the first rank of each type measures alone.
  std::vector<double> alone;
  std::set<std::string> measured;
  for (int turn = 0; turn < ranks; ++turn) {
    if (!measured.insert(types[static_cast<std::size_t>(turn)]).second) {
      continue;
    }
    progress("alone: " + types[static_cast<std::size_t>(turn)]);
    if (turn == rank) {
      const MeasuredTimes times = meter.times(std::max<std::int64_t>(2, options.repeats / 2), [] { return true; });
      alone = flatten(times.times);
    }
    communicator.world().barrier("measuring alone");
  }
  if (alone.empty()) {
    alone.assign(sizes * layers * 5 + layers, 0.0);
  }

  progress("all ranks busy");
  std::vector<double> busy;
  std::vector<double> spreads;
  std::vector<std::array<std::byte, 1>> marks(static_cast<std::size_t>(ranks));
  const std::array<std::byte, 1> mark{};
  for (std::int64_t attempt = 0; attempt < 2; ++attempt) {
    communicator.world().barrier("measuring busy");
    const MeasuredTimes times = abort_on_throw(communicator, [&] {
      return times_while_all_are_busy(communicator, meter, options.repeats * (attempt == 0 ? 1 : 3), mark, marks);
    });
    busy = flatten(times.times);
    spreads = gather(communicator, std::vector{times.spread}, "spread");
    if (*std::max_element(spreads.begin(), spreads.end()) <= options.noise_limit) {
      break;
    }
    if (attempt == 0) {
      progress("too noisy to trust, measuring again for longer");
    }
  }

  progress("pauses");
  const Burst burst = measure_burst(communicator, device, pacer, options.repeats);

  communicator.world().barrier("measuring codecs");
  const std::vector<double> codecs = measure_codecs(device, pacer, kCodecRepeats);

  progress("links");
  LinkOptions between = options.links;
  between.device = &device;
  MeasuredLinks links = measure_links(communicator, between, kLinkRepeats);
  const std::vector<double> message_costs =
      measure_message_costs(communicator, device, pacer, types, links.links,
                            kMessageSpan * static_cast<double>(std::max<std::int64_t>(1, options.repeats)));
  MeasuredGroups groups = measure_groups(communicator, between, likely_replicas(types), kLinkRepeats);
  const Seconds norm_exchange = measure_norm_exchange(communicator, layers + 4, 20);
  const Seconds overhead = measure_bookkeeping(communicator);

  const std::vector<double> workspaces =
      gather(communicator, std::vector{static_cast<double>(device.workspaces().value)}, "workspaces");
  const std::vector<double> all_alone = gather(communicator, alone, "times alone");
  const std::vector<double> all_busy = gather(communicator, busy, "times busy");
  const std::vector<double> all_codecs = gather(communicator, codecs, "times of codecs");
  const std::vector<double> all_bursts =
      gather(communicator, std::vector{burst.credit.value, burst.speed_up}, "gains after pauses");
  const std::vector<double> all_message_costs = gather(communicator, message_costs, "costs of messages");
  if (rank != 0) {
    return {};
  }
  Profile profile;
  profile.model.name = workload.name;
  profile.model.layers = std::move(layer_profiles);
  profile.model.base_memory = base_memory;
  profile.model.micro_batch_sizes = options.micro_batch_sizes;
  for (const std::string& type : measured) {
    std::vector<std::vector<double>> busy_of_type;
    std::vector<std::vector<double>> codecs_of_type;
    std::vector<std::vector<double>> bursts_of_type;
    std::vector<double> costs_of_messages;
    DeviceTable table;
    bool first = true;
    for (int r = 0; r < ranks; ++r) {
      if (types[static_cast<std::size_t>(r)] != type) {
        continue;
      }
      const auto row = [&](const std::vector<double>& all) {
        const auto width = static_cast<std::ptrdiff_t>(all.size()) / ranks;
        return std::vector<double>(all.begin() + width * r, all.begin() + width * (r + 1));
      };
      if (first) {
        table.alone = unflatten(row(all_alone), sizes, layers);
        costs_of_messages = row(all_message_costs);
        first = false;
      }
      busy_of_type.push_back(row(all_busy));
      codecs_of_type.push_back(row(all_codecs));
      bursts_of_type.push_back(row(all_bursts));
    }
    table.busy = unflatten(median_of(busy_of_type), sizes, layers);
    const std::vector<double> of_pauses = median_of(bursts_of_type);
    table.burst = {Seconds{of_pauses[0]}, of_pauses[1]};
    put_codecs(codecs_of_type, table);
    put_message_costs(costs_of_messages, table);
    profile.model.devices[type] = std::move(table);
  }
  for (int r = 0; r < ranks; ++r) {
    const auto i = static_cast<std::size_t>(r);
    const Bytes limit{static_cast<std::int64_t>(limits[i])};
    const Bytes libraries =
        links.connections[i] + groups.connections[i] + Bytes{static_cast<std::int64_t>(workspaces[i])};
    if (libraries.value > 0 && libraries >= limit) {
      throw Fault::of("rank {}: NCCL and cuBLAS take {} bytes of its GPU, and {} are allowed in all", r,
                      libraries.value, limit.value);
    }
    profile.cluster.devices.push_back(
        {fmt::format("rank{}", r), hosts[i], types[i], limit - libraries, 0.0, libraries});
    if (spreads[i] > options.noise_limit) {
      profile.cluster.note += fmt::format("{}rank{}: passes spread by {:.0f} %, measured twice",
                                          profile.cluster.note.empty() ? "" : "; ", r, spreads[i] * 100);
    }
  }
  profile.cluster.links = std::move(links.links);
  profile.cluster.transports = std::move(links.transports);
  profile.cluster.action_overhead = overhead;
  profile.cluster.all_reduce = std::move(groups.all_reduce);
  profile.cluster.norm_exchange = norm_exchange;
  profile.cluster.emulated = options.emulated;
  return profile;
}

}  // namespace motley

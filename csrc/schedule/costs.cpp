#include "motley/schedule/costs.h"

#include <algorithm>
#include <set>

#include "motley/base/error.h"
#include "motley/plan/transports.h"
#include "motley/schedule/generators.h"

namespace motley {
namespace {

LayerMemory memory_at(const LayerProfile& layer, const BetweenSizes& at) {
  const LayerMemory& a = layer.memory[at.low];
  const LayerMemory& b = layer.memory[at.high];
  return {at.of(a.saved, b.saved),
          at.of(a.queued, b.queued),
          at.of(a.forward_peak, b.forward_peak),
          at.of(a.backward_input_peak, b.backward_input_peak),
          at.of(a.backward_weight_peak, b.backward_weight_peak),
          at.of(a.backward_peak, b.backward_peak)};
}

/// Forward goes up the layers and backward down; at each, what the layers below saved is there as well.
void add_memory(StageCosts& cost, const ModelProfile& model, const StagePlan& stage, std::int64_t samples) {
  const BetweenSizes at = model.between_sizes(samples);
  if (stage.first_layer > 0) {
    cost.input = forward_bytes(model.layers[static_cast<std::size_t>(stage.first_layer) - 1].output, samples);
  }
  Bytes weight_working;
  for (int l = stage.first_layer; l < stage.end_layer; ++l) {
    const LayerMemory layer = memory_at(model.layers[static_cast<std::size_t>(l)], at);
    const Bytes beside = l == stage.first_layer ? Bytes{} : cost.input;  // the first layer's peak has its input
    cost.forward_peak = std::max(cost.forward_peak, cost.saved + layer.forward_peak);
    cost.unsaved_peak = std::max(cost.unsaved_peak, beside + layer.forward_peak);
    cost.backward_peak = std::max(cost.backward_peak, cost.saved + layer.backward_peak);
    weight_working = std::max(weight_working, layer.backward_weight_peak - layer.queued);
    cost.saved += layer.saved;
    cost.queued += layer.queued;
  }
  cost.backward_weight_peak = cost.queued + weight_working;
  Bytes below = cost.saved;
  Bytes queued_above;
  for (int l = stage.end_layer; l-- > stage.first_layer;) {
    const LayerMemory layer = memory_at(model.layers[static_cast<std::size_t>(l)], at);
    below -= layer.saved;
    cost.backward_input_peak = std::max(cost.backward_input_peak, below + layer.backward_input_peak + queued_above);
    queued_above += layer.queued;
  }
}

void add_times(StageCosts& cost, const ModelProfile& model, const DeviceTimes& times, const StagePlan& stage,
               std::int64_t samples) {
  const BetweenSizes at = model.between_sizes(samples);
  for (int l = stage.first_layer; l < stage.end_layer; ++l) {
    const auto i = static_cast<std::size_t>(l);
    const LayerTimes& a = times.by_size.at(at.low).at(i);
    const LayerTimes& b = times.by_size.at(at.high).at(i);
    cost.forward += at.of(a.forward, b.forward);
    cost.backward_input += at.of(a.backward_input, b.backward_input);
    cost.backward_weight += at.of(a.backward_weight, b.backward_weight);
    cost.backward += at.of(a.backward, b.backward);
    cost.update += times.update.at(i);
    cost.resident += 2 * model.layers.at(i).parameters + model.layers.at(i).optimizer_state;
  }
}

/// Sets the hosts and their NICs, unless no NIC is ever the limit.
void add_nics(PipelineCosts& costs, const ClusterProfile& cluster) {
  std::map<std::string, int> index;
  for (const Host& host : cluster.hosts) {
    if (host.send.value > 0.0 || host.receive.value > 0.0) {
      index.emplace(host.name, static_cast<int>(costs.nics.size()));
      costs.nics.push_back({host.send, host.receive});
    }
  }
  if (costs.nics.empty()) {
    return;
  }
  for (const Device& device : cluster.devices) {
    const auto [place, fresh] = index.emplace(device.host, static_cast<int>(costs.nics.size()));
    if (fresh) {
      costs.nics.emplace_back();
    }
    costs.host_of_rank.push_back(place->second);
  }
}

/// What crosses the boundary of an edge, and how.
struct Crossing {
  Boundary boundary;
  std::string wire;
};

void add_wire(PipelineCosts& costs, const Plan& plan, const Profile& profile) {
  std::vector<Crossing> crossings;
  bool encoded = profile.model.has_codec("float32");
  for (int s = 0; s + 1 < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    crossings.push_back({profile.model.layers[static_cast<std::size_t>(stage.end_layer) - 1].output, stage.wire});
    encoded = encoded || stage.wire != "float32";
  }
  if (encoded) {
    costs.codec = [&profile, crossings, all = plan.micro_batch_size](Edge edge, int from, int to,
                                                                     std::int64_t samples) -> CodecTimes {
      const Crossing& crossing = crossings[static_cast<std::size_t>(edge.stage)];
      const Bytes bytes = wire_bytes(crossing.boundary, samples > 0 ? samples : all, "float32", edge.pass);
      const auto codec = [&](int device) -> const Codec* {
        const DeviceTable& table = profile.model.device(profile.cluster.devices[static_cast<std::size_t>(device)].type);
        const auto found = table.codecs.find(crossing.wire);
        return found == table.codecs.end() ? nullptr : &found->second;
      };
      const Codec* sender = codec(from);
      const Codec* receiver = codec(to);
      return {sender != nullptr ? sender->encode.time(bytes) : Seconds{},
              receiver != nullptr ? receiver->decode.time(bytes) : Seconds{}};
    };
  }
  costs.part_bytes = [crossings = std::move(crossings)](Edge edge, std::int64_t samples) {
    const Crossing& crossing = crossings[static_cast<std::size_t>(edge.stage)];
    return wire_bytes(crossing.boundary, samples, crossing.wire, edge.pass);
  };
}

/// Links, from and to, of which the plan names the transport and the profile has several.
std::map<std::pair<int, int>, const TransferCurve*> named_links(const Plan& plan, const ClusterProfile& cluster) {
  std::map<std::pair<int, int>, const TransferCurve*> named;
  for (int s = 0; s + 1 < plan.stage_count() && !cluster.transports.empty(); ++s) {
    const StagePlan& below = plan.stages[static_cast<std::size_t>(s)];
    if (below.transport == "auto") continue;
    for (const Replica& a : below.replicas) {
      for (const Replica& b : plan.stages[static_cast<std::size_t>(s) + 1].replicas) {
        for (const auto& [from, to] : {std::pair(a.device, b.device), std::pair(b.device, a.device)}) {
          if (from != to) named[{from, to}] = &link_over(cluster, from, to, below.transport);
        }
      }
    }
  }
  return named;
}

bool uses_several_devices(const Plan& plan) {
  std::set<int> devices;
  for (const StagePlan& stage : plan.stages) {
    for (const Replica& replica : stage.replicas) devices.insert(replica.device);
  }
  return devices.size() > 1;
}

}  // namespace

const StageCosts& PipelineCosts::of(int stage, int rank) const {
  const auto own = on_rank.find({stage, rank});
  return own == on_rank.end() ? stages.at(static_cast<std::size_t>(stage)) : own->second;
}

PipelineCosts costs_of(const Plan& plan, const Profile& profile) {
  const ModelProfile& model = profile.model;
  const bool busy = uses_several_devices(plan);
  PipelineCosts costs;
  costs.base_memory = model.base_memory;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    std::vector<int> devices;
    for (const Replica& replica : stage.replicas) devices.push_back(replica.device);
    for (const Replica& replica : stage.replicas) {
      const DeviceTable& table =
          model.device(profile.cluster.devices.at(static_cast<std::size_t>(replica.device)).type);
      const std::int64_t samples = replica.sample_end - replica.sample_begin;
      StageCosts cost;
      add_times(cost, model, busy ? table.busy : table.alone, stage, samples);
      add_memory(cost, model, stage, samples);
      if (devices.size() > 1) {
        Bytes gradients;
        for (int l = stage.first_layer; l < stage.end_layer; ++l) {
          gradients += model.layers[static_cast<std::size_t>(l)].parameters;
        }
        cost.reduce = all_reduce_time(profile.cluster, devices, gradients);
        costs.on_rank[{s, replica.device}] = cost;
      }
      if (s + 1 < plan.stage_count()) {
        const Boundary& boundary = model.layers[static_cast<std::size_t>(stage.end_layer) - 1].output;
        cost.boundary_forward = wire_bytes(boundary, plan.micro_batch_size, stage.wire, Pass::Forward);
        cost.boundary_backward = wire_bytes(boundary, plan.micro_batch_size, stage.wire, Pass::Backward);
      }
      if (&replica == &stage.replicas.front()) {
        costs.stages.push_back(cost);
      }
    }
  }
  add_wire(costs, plan, profile);
  add_nics(costs, profile.cluster);
  costs.transfer = [&profile, named = named_links(plan, profile.cluster)](int from, int to, Bytes bytes) {
    const auto over = named.find({from, to});
    return (over != named.end() ? *over->second
                                : profile.cluster.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)])
        .time(bytes);
  };
  costs.action_overhead = profile.cluster.action_overhead;
  costs.norm_exchange = profile.cluster.norm_exchange;
  return costs;
}

PipelineCosts expected_costs_of(const Plan& plan, const Profile& profile) {
  PipelineCosts costs = costs_of(plan, profile);
  for (const Device& device : profile.cluster.devices) {
    costs.bursts.push_back(profile.model.device(device.type).burst);
  }
  return costs;
}

Seconds all_reduce_time(const ClusterProfile& cluster, const std::vector<int>& devices, Bytes bytes) {
  if (devices.size() < 2 || bytes.value <= 0) {
    return {};
  }
  for (const AllReduce& group : cluster.all_reduce) {
    if (group.devices.size() == devices.size() &&
        std::is_permutation(group.devices.begin(), group.devices.end(), devices.begin())) {
      return group.time.time(bytes);
    }
  }
  const auto n = static_cast<std::int64_t>(devices.size());
  const Bytes chunk{(bytes.value + n - 1) / n};
  Seconds step;
  std::map<std::string, std::pair<int, int>> crossings;  // by host: messages that leave and that arrive
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const auto from = static_cast<std::size_t>(devices[i]);
    const auto to = static_cast<std::size_t>(devices[(i + 1) % devices.size()]);
    step = std::max(step, cluster.links[from][to].time(chunk));
    if (cluster.devices[from].host != cluster.devices[to].host) {
      ++crossings[cluster.devices[from].host].first;
      ++crossings[cluster.devices[to].host].second;
    }
  }
  for (const Host& host : cluster.hosts) {
    const auto [leave, arrive] = crossings[host.name];
    if (host.send.value > 0.0) step = std::max(step, leave * chunk / host.send);
    if (host.receive.value > 0.0) step = std::max(step, arrive * chunk / host.receive);
  }
  return static_cast<double>(2 * (n - 1)) * step;
}

Shares shares_of(const Plan& plan) {
  Shares shares;
  for (const StagePlan& stage : plan.stages) {
    std::vector<Share>& of = shares.emplace_back();
    for (const Replica& replica : stage.replicas) {
      of.push_back({replica.device, replica.sample_begin, replica.sample_end});
    }
  }
  return shares;
}

Schedule schedule_of(const Plan& plan, int devices, bool clip, int receive_ahead) {
  std::vector<bool> recompute;
  for (const StagePlan& stage : plan.stages) {
    recompute.push_back(stage.recompute);
  }
  const Shares shares = shares_of(plan);
  const Schedule rows = with_recompute(replicate(compute_schedule(plan, devices), shares), recompute);
  return add_transfers(with_updates(rows, clip), receive_ahead, shares);
}

}  // namespace motley

#include <algorithm>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"

namespace motley {

namespace {

/// Forward goes up the layers and backward down; at each, what the layers below saved is there as well.
void add_memory(StageCosts& cost, const ModelProfile& model, const StagePlan& stage, std::size_t size) {
  Bytes weight_working;
  for (int l = stage.first_layer; l < stage.end_layer; ++l) {
    const LayerMemory& layer = model.layers[static_cast<std::size_t>(l)].memory[size];
    cost.forward_peak = std::max(cost.forward_peak, cost.saved + layer.forward_peak);
    cost.backward_peak = std::max(cost.backward_peak, cost.saved + layer.backward_peak);
    weight_working = std::max(weight_working, layer.backward_weight_peak - layer.queued);
    cost.saved += layer.saved;
    cost.queued += layer.queued;
  }
  cost.backward_weight_peak = cost.queued + weight_working;
  Bytes below = cost.saved;
  Bytes queued_above;
  for (int l = stage.end_layer; l-- > stage.first_layer;) {
    const LayerMemory& layer = model.layers[static_cast<std::size_t>(l)].memory[size];
    below -= layer.saved;
    cost.backward_input_peak = std::max(cost.backward_input_peak, below + layer.backward_input_peak + queued_above);
    queued_above += layer.queued;
  }
}

}  // namespace

PipelineCosts costs_of(const Plan& plan, const Profile& profile) {
  const ModelProfile& model = profile.model;
  const std::size_t size = model.size_index(plan.micro_batch_size);
  PipelineCosts costs;
  costs.base_memory = model.base_memory;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    if (stage.replicas.size() != 1 || stage.recompute || stage.wire != "float32") {
      throw InputError::of(
          "plan: stages[{}]: {} cannot be priced yet, expected one device, no recomputation, float32 wire", s,
          stage.replicas.size() != 1 ? "replicas"
          : stage.recompute          ? "recompute"
                                     : "wire " + stage.wire);
    }
    const Device& device = profile.cluster.devices.at(static_cast<std::size_t>(stage.replicas.front().device));
    const DeviceTable& table = model.device(device.type);
    const DeviceTimes& times = plan.stage_count() > 1 ? table.busy : table.alone;
    StageCosts cost;
    for (int l = stage.first_layer; l < stage.end_layer; ++l) {
      const auto i = static_cast<std::size_t>(l);
      const LayerTimes& t = times.by_size.at(size).at(i);
      const LayerProfile& layer = model.layers.at(i);
      cost.forward += t.forward;
      cost.backward_input += t.backward_input;
      cost.backward_weight += t.backward_weight;
      cost.backward += t.backward;
      cost.update += times.update.at(i);
      cost.resident += 2 * layer.parameters + layer.optimizer_state;
    }
    add_memory(cost, model, stage, size);
    if (s + 1 < plan.stage_count()) {
      const Boundary& boundary = model.layers[static_cast<std::size_t>(stage.end_layer) - 1].output;
      cost.boundary_forward = forward_bytes(boundary, plan.micro_batch_size);
      cost.boundary_backward = backward_bytes(boundary, plan.micro_batch_size);
    }
    costs.stages.push_back(cost);
  }
  costs.transfer = [&profile](int from, int to, Bytes bytes) {
    return profile.cluster.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)].time(bytes);
  };
  costs.action_overhead = profile.cluster.action_overhead;
  costs.norm_exchange = profile.cluster.norm_exchange;
  return costs;
}

Schedule schedule_of(const Plan& plan, int devices, bool clip, int receive_ahead) {
  std::vector<int> warm_up;
  std::vector<int> ranks;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    warm_up.push_back(stage.warm_up > 0 ? stage.warm_up : plan.stage_count() - s);
    ranks.push_back(stage.replicas.front().device);
  }
  const Schedule compute = make_schedule(plan.schedule, static_cast<int>(plan.micro_batches), warm_up);
  return add_transfers(with_updates(place(compute, ranks, devices), clip), receive_ahead);
}

}  // namespace motley

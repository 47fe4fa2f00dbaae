#include "motley/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/plan/limits.h"

namespace motley {
namespace {

constexpr std::array<std::string_view, 5> kSchedules{"1f1b", "gpipe", "zero-bubble", "interleaved-1f1b", "listed"};
constexpr std::array<std::string_view, 3> kWireFormats{"float32", "bfloat16", "int8"};
constexpr std::array<std::string_view, 4> kTransports{"auto", "nccl", "tcp", "mpi"};

void expect_one_of(std::span<const std::string_view> names, const std::string& name, const std::string& where) {
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    throw InputError::of("{}: found \"{}\", expected {}", where, name, one_of(name, {names.begin(), names.end()}));
  }
}

/// A round ends before the first stage whose devices were used; from there on every stage repeats the devices and
/// shares of the stage one round before.
void check_rounds(const Plan& plan, const std::string& source) {
  std::set<int> used;
  const auto is_new = [&](const StagePlan& stage) {
    return std::all_of(stage.replicas.begin(), stage.replicas.end(),
                       [&](const Replica& replica) { return used.insert(replica.device).second; });
  };
  int round = 0;
  while (round < plan.stage_count() && is_new(plan.stages[static_cast<std::size_t>(round)])) {
    ++round;
  }
  if (plan.stage_count() % round != 0) {
    throw InputError::of("{}: stages: found {} stages for {} device groups, interleaved-1f1b expects a multiple",
                         source, plan.stage_count(), round);
  }
  for (int s = round; s < plan.stage_count(); ++s) {
    if (plan.stages[static_cast<std::size_t>(s)].replicas !=
        plan.stages[static_cast<std::size_t>(s - round)].replicas) {
      throw InputError::of("{}: stages[{}].replicas: interleaved-1f1b expects those of stages[{}]", source, s,
                           s - round);
    }
  }
}

}  // namespace

std::span<const std::string_view> schedule_names() {
  return kSchedules;
}

std::span<const std::string_view> transport_names() {
  return kTransports;
}

std::span<const std::string_view> wire_formats() {
  return kWireFormats;
}

void validate(const Plan& plan, int layers, int devices, const std::string& source) {
  if (plan.micro_batch_size < 1) {
    throw InputError::of("{}: micro_batch_size: found {}, expected at least 1", source, plan.micro_batch_size);
  }
  if (plan.micro_batches < 1) {
    throw InputError::of("{}: micro_batches: found {}, expected at least 1", source, plan.micro_batches);
  }
  if (plan.micro_batch_size > kMostSamples / plan.micro_batches) {
    throw InputError::of("{}: micro_batches: found {} of {} samples, expected at most {} samples an iteration", source,
                         plan.micro_batches, plan.micro_batch_size, kMostSamples);
  }
  if (plan.stages.empty()) {
    throw InputError::of("{}: stages: found none, expected at least one", source);
  }
  if (plan.stage_count() > layers) {
    throw InputError::of("{}: stages: found {} stages for {} layers, expected at most one stage a layer", source,
                         plan.stage_count(), layers);
  }
  expect_one_of(kSchedules, plan.schedule, source + ": schedule");
  if ((plan.schedule == "listed") == plan.actions.empty()) {
    throw InputError::of("{}: actions: found {} rows for schedule {}, expected {}", source, plan.actions.size(),
                         plan.schedule, plan.actions.empty() ? "one a device" : "none");
  }
  const bool shares_devices = plan.schedule == "interleaved-1f1b" || plan.schedule == "listed";
  std::set<int> used;
  int next_layer = 0;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    if (stage.first_layer != next_layer) {
      throw InputError::of("{}: stages[{}].first_layer: found {}, expected {} (where the stage before ends)", source, s,
                           stage.first_layer, next_layer);
    }
    if (stage.end_layer <= stage.first_layer || stage.end_layer > layers) {
      throw InputError::of("{}: stages[{}].end_layer: found {}, expected {} to {}", source, s, stage.end_layer,
                           stage.first_layer + 1, layers);
    }
    if (stage.warm_up < 0) {
      throw InputError::of("{}: stages[{}].warm_up: found {}, expected at least 0", source, s, stage.warm_up);
    }
    expect_one_of(kTransports, stage.transport, fmt::format("{}: stages[{}].transport", source, s));
    expect_one_of(kWireFormats, stage.wire, fmt::format("{}: stages[{}].wire", source, s));
    next_layer = stage.end_layer;
    if (shares_devices) {
      used.clear();
    }
    if (stage.replicas.empty()) {
      throw InputError::of("{}: stages[{}].replicas: found none, expected at least one device", source, s);
    }
    std::int64_t next_sample = 0;
    for (const Replica& replica : stage.replicas) {
      if (replica.device < 0 || replica.device >= devices) {
        throw InputError::of("{}: stages[{}]: found device {}, expected 0 to {}", source, s, replica.device,
                             devices - 1);
      }
      if (!used.insert(replica.device).second) {
        throw InputError::of(
            "{}: stages[{}]: device {} is used twice{}", source, s, replica.device,
            shares_devices ? "" : " (only interleaved-1f1b and listed put several stages on a device)");
      }
      if (plan.schedule == "listed" && static_cast<std::size_t>(replica.device) >= plan.actions.size()) {
        throw InputError::of("{}: actions: found {} rows, expected one for device {} of stages[{}]", source,
                             plan.actions.size(), replica.device, s);
      }
      if (replica.sample_begin != next_sample || replica.sample_end <= replica.sample_begin) {
        throw InputError::of("{}: stages[{}]: device {} owns samples [{}, {}), expected them to go on from {}", source,
                             s, replica.device, replica.sample_begin, replica.sample_end, next_sample);
      }
      next_sample = replica.sample_end;
    }
    if (next_sample != plan.micro_batch_size) {
      throw InputError::of("{}: stages[{}]: replicas own {} samples, expected the micro-batch's {}", source, s,
                           next_sample, plan.micro_batch_size);
    }
  }
  if (next_layer != layers) {
    throw InputError::of("{}: stages: the last stage ends at layer {}, expected {} (all layers of the model)", source,
                         next_layer, layers);
  }
  if (plan.schedule == "interleaved-1f1b") {
    check_rounds(plan, source);
  }
}

}  // namespace motley

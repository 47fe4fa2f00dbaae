#include "motley/partitioner/explain.h"

#include <algorithm>
#include <iterator>

#include "motley/base/error.h"

namespace motley {
namespace {

const std::string& device_name(const Plan& plan, std::size_t stage, const Profile& profile) {
  return profile.cluster.devices[plan.stages[stage].replicas.front().device].name;
}

/// "[0, 5) rank1 | [5, 9) rank0, 32 x 8, 1f1b, warm-up 2 1".
std::string summary(const Plan& plan, const Profile& profile) {
  std::string text;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    text += fmt::format("{}[{}, {}) {}", s == 0 ? "" : " | ", plan.stages[s].first_layer, plan.stages[s].end_layer,
                        device_name(plan, s, profile));
  }
  text += fmt::format(", {} x {}, {}, warm-up", plan.micro_batches, plan.micro_batch_size, plan.schedule);
  for (const StagePlan& stage : plan.stages) text += fmt::format(" {}", stage.warm_up);
  return text;
}

/// The resource that is busy longest, and the memory nearest to its limit.
std::string binding(const Plan& plan, const Profile& profile) {
  const Prediction& prediction = *plan.prediction;
  const auto busiest = std::max_element(prediction.stage_busy.begin(), prediction.stage_busy.end());
  const auto stage = static_cast<std::size_t>(busiest - prediction.stage_busy.begin());
  const double iteration = prediction.iteration.value;
  std::string text = fmt::format("compute of {} ({:.1f} % busy)", device_name(plan, stage, profile),
                                 100.0 * busiest->value / iteration);
  // An edge's time is both directions of a micro-batch; each direction is a channel of its own, so half is the least
  // that the busier one is in use.
  for (std::size_t edge = 0; edge < prediction.edge_time.size(); ++edge) {
    const double in_use = static_cast<double>(plan.micro_batches) * prediction.edge_time[edge].value / 2.0;
    if (in_use > busiest->value) {
      text = fmt::format("link {} - {} (at least {:.1f} % in use)", device_name(plan, edge, profile),
                         device_name(plan, edge + 1, profile), 100.0 * in_use / iteration);
    }
  }
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const Bytes limit = profile.cluster.devices[plan.stages[s].replicas.front().device].memory;
    const double share = static_cast<double>(prediction.stage_memory[s].value) / static_cast<double>(limit.value);
    if (share > 0.95)
      text += fmt::format("; memory of {} ({:.1f} % full)", device_name(plan, s, profile), 100.0 * share);
  }
  return text;
}

}  // namespace

std::string explain(const Found& found, const Profile& profile) {
  const Plan& plan = found.plan;
  MOTLEY_CHECK(plan.prediction.has_value(), "a found plan has a prediction");
  const Prediction& prediction = *plan.prediction;
  const double iteration = prediction.iteration.value;
  std::string text;
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "planner {}: {:.3f} ms an iteration{}, {} micro-batches of {}, {}, bubble {:.1f} %\n",
                 plan.planner, 1e3 * iteration, plan.emulated ? " (emulated)" : "", plan.micro_batches,
                 plan.micro_batch_size, plan.schedule, 100.0 * prediction.bubble_share);
  fmt::format_to(out, "{:>5}  {:<16} {:>11} {:>7} {:>11} {:>6} {:>11} {:>11} {:>16}\n", "stage", "device", "layers",
                 "warm-up", "busy ms", "%", "peak MB", "limit MB", "edge ms, f + b");
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const StagePlan& stage = plan.stages[s];
    const Device& device = profile.cluster.devices[stage.replicas.front().device];
    const double busy = prediction.stage_busy[s].value;
    fmt::format_to(out, "{:>5}  {:<16} {:>11} {:>7} {:>11.3f} {:>6.1f} {:>11.3f} {:>11.3f} {:>16}\n", s, device.name,
                   fmt::format("[{}, {})", stage.first_layer, stage.end_layer), stage.warm_up, 1e3 * busy,
                   100.0 * busy / iteration, 1e-6 * static_cast<double>(prediction.stage_memory[s].value),
                   1e-6 * static_cast<double>(device.memory.value),
                   s < prediction.edge_time.size() ? fmt::format("{:.3f}", 1e3 * prediction.edge_time[s].value) : "-");
  }
  for (int device = 0; device < profile.cluster.size(); ++device) {
    const bool used = std::any_of(plan.stages.begin(), plan.stages.end(),
                                  [&](const StagePlan& stage) { return stage.replicas.front().device == device; });
    if (!used) fmt::format_to(out, "    -  {:<16} unused\n", profile.cluster.devices[device].name);
  }
  fmt::format_to(out, "binds: {}\n", binding(plan, profile));
  if (plan.certificate) {
    fmt::format_to(out, "bound: no plan takes less than {:.3f} ms (gap {:.2f} %); space: {}\n",
                   1e3 * plan.certificate->lower_bound.value, 100.0 * plan.certificate->gap, plan.certificate->space);
  }
  if (!found.runners_up.empty()) {
    const Plan& next = found.runners_up.front();
    fmt::format_to(out, "runner-up: {:.3f} ms (+{:.2f} %): {}\n", 1e3 * next.prediction->iteration.value,
                   100.0 * (next.prediction->iteration.value / iteration - 1.0), summary(next, profile));
  }
  fmt::format_to(out, "searched {} nodes, simulated {} plans in {:.3f} s\n", found.statistics.expansions,
                 found.statistics.simulated, found.statistics.solve.value);
  return text;
}

}  // namespace motley

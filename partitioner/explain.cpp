#include "motley/partitioner/explain.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "motley/base/error.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/what_if.h"

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

Seconds busiest(const Plan& plan) {
  return *std::max_element(plan.prediction->stage_busy.begin(), plan.prediction->stage_busy.end());
}

/// What `next` has more of: work of its busiest device, or time in which that one waits.
std::string why_it_lost(const Plan& plan, const Plan& next, const Profile& profile) {
  const double longer = next.prediction->iteration.value - plan.prediction->iteration.value;
  if (longer <= 0.0) return "it takes as long, and was found later or has another objective";
  const double more_work = busiest(next).value - busiest(plan).value;
  return fmt::format("its busiest device works {:+.3f} ms, and waits {:+.3f} ms longer; binds: {}", 1e3 * more_work,
                     1e3 * (longer - more_work), binding(next, profile));
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
    fmt::format_to(out, "  it lost: {}\n", why_it_lost(plan, next, profile));
  }
  fmt::format_to(out, "searched {} nodes, simulated {} plans in {:.3f} s\n", found.statistics.expansions,
                 found.statistics.simulated, found.statistics.solve.value);
  return text;
}

std::string explain_worth(const std::string& planner, const Found& found, const Profile& profile,
                          const SearchOptions& options) {
  constexpr double kFull = 0.8;
  constexpr std::int64_t kOneGigabyte = 1'000'000'000;
  const Plan& plan = found.plan;
  MOTLEY_CHECK(plan.prediction.has_value(), "a found plan has a prediction");
  const double before = value_of(*plan.prediction, options.objective);
  std::string text;
  const auto ask = [&](const std::string& what, const Profile& changed) {
    const SearchResult result = find_plan(planner, changed, options);
    const auto* const better = std::get_if<Found>(&result);
    if (better == nullptr) return;
    const double after = value_of(*better->plan.prediction, options.objective);
    text += fmt::format("worth: {}: {:+.2f} %\n", what, 100.0 * (after / before - 1.0));
  };
  const auto device_of = [&](std::size_t stage) { return plan.stages[stage].replicas.front().device; };
  std::vector<std::pair<double, std::size_t>> full;  // share of memory, stage
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const Bytes limit = profile.cluster.devices[device_of(s)].memory;
    const double share = static_cast<double>(plan.prediction->stage_memory[s].value) / static_cast<double>(limit.value);
    if (share > kFull) full.emplace_back(-share, s);
  }
  std::sort(full.begin(), full.end());
  full.resize(std::min(full.size(), kMostAsked));
  for (const auto& [_, stage] : full) {
    Profile changed = profile;
    changed.cluster.devices[device_of(stage)].memory += Bytes{kOneGigabyte};
    ask(fmt::format("1 GB more for {}", device_name(plan, stage, profile)), changed);
  }
  std::vector<std::pair<double, std::size_t>> slow;  // seconds, edge
  for (std::size_t e = 0; e < plan.prediction->edge_time.size(); ++e) {
    if (plan.prediction->edge_time[e].value > 0.0) slow.emplace_back(-plan.prediction->edge_time[e].value, e);
  }
  std::sort(slow.begin(), slow.end());
  slow.resize(std::min(slow.size(), kMostAsked));
  for (const auto& [_, edge] : slow) {
    const int here = device_of(edge);
    const int there = device_of(edge + 1);
    const Profile forward = what_if(profile, fmt::format("link {} -> {} x 2", here, there));
    ask(fmt::format("link {} - {} twice as fast", device_name(plan, edge, profile),
                    device_name(plan, edge + 1, profile)),
        what_if(forward, fmt::format("link {} -> {} x 2", there, here)));
  }
  return text;
}

}  // namespace motley

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "motley/launcher/show.h"

namespace motley {
namespace {

constexpr int kWidest = 64;  // columns of the picture
constexpr int kNarrowestLayer = 2;

std::string without_trailing_spaces(std::string line) {
  return line.erase(line.find_last_not_of(' ') + 1);
}

/// Layers across, a row for each device in the order of its first stage; a stage is a box with its number.
std::string picture(const Plan& plan) {
  const int layers = plan.stages.back().end_layer;
  const double width = std::clamp(static_cast<double>(kWidest) / layers, 0.0, 4.0);
  const auto column = [&](int layer) { return static_cast<std::size_t>(std::lround(layer * width)); };
  const std::size_t columns = column(layers);
  std::vector<int> devices;
  std::map<int, std::string> rows;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    for (const Replica& replica : stage.replicas) {
      const auto [row, fresh] = rows.emplace(replica.device, std::string(columns, ' '));
      if (fresh) {
        devices.push_back(replica.device);
      }
      const std::size_t begin = column(stage.first_layer);
      const std::size_t end = std::max(column(stage.end_layer), begin + 1);
      std::string& line = row->second;
      line.resize(std::max(line.size(), end), ' ');
      const std::string number = std::to_string(s);
      std::fill(line.begin() + static_cast<std::ptrdiff_t>(begin), line.begin() + static_cast<std::ptrdiff_t>(end),
                '=');
      if (end - begin >= 2) {
        line[begin] = '[';
        line[end - 1] = ']';
      }
      if (end - begin >= number.size() + kNarrowestLayer) {
        line.replace(begin + (end - begin - number.size()) / 2, number.size(), number);
      }
    }
  }
  std::string ruler(columns + 4, ' ');
  for (int layer = 0; layer < layers; ++layer) {
    const std::string number = std::to_string(layer);
    const std::size_t at = column(layer);
    // Only where the number before has ended.
    if (ruler.find_first_not_of(' ', at == 0 ? 0 : at - 1) == std::string::npos) {
      ruler.replace(at, number.size(), number);
    }
  }
  std::string text = fmt::format("  {:<8} {}\n", "layer", without_trailing_spaces(ruler));
  for (const int device : devices) {
    text += fmt::format("  {:<8} {}\n", fmt::format("rank {}", device), without_trailing_spaces(rows[device]));
  }
  return text;
}

std::string devices_of(const StagePlan& stage) {
  std::string text;
  for (const Replica& replica : stage.replicas) {
    text += fmt::format("{}{}", text.empty() ? "" : "+", replica.device);
  }
  return text;
}

std::string stages_table(const Plan& plan) {
  const std::optional<Prediction>& prediction = plan.prediction;
  std::string text = fmt::format("  {:<5} {:<6} {:<10} {:>7} {:>11} {:>7} {:>10} {:>12}  {}\n", "stage", "rank",
                                 "layers", "warm-up", "busy ms", "share", "peak MB", "edge ms", "more");
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const StagePlan& stage = plan.stages[s];
    const auto cell = [&](bool is_known, double value, int places) {
      return is_known ? fmt::format("{:.{}f}", value, places) : std::string("-");
    };
    const bool known = prediction && s < prediction->stage_busy.size();
    const double busy = known ? prediction->stage_busy[s].value : 0.0;
    const bool share = known && prediction->iteration.value > 0.0;
    text += without_trailing_spaces(fmt::format(
                "  {:<5} {:<6} {:<10} {:>7} {:>11} {:>7} {:>10} {:>12}  {}{}", s, devices_of(stage),
                fmt::format("{}..{}", stage.first_layer, stage.end_layer - 1),
                stage.warm_up > 0 ? std::to_string(stage.warm_up) : "-", cell(known, busy * 1e3, 3),
                share ? fmt::format("{:.0f} %", busy / prediction->iteration.value * 100) : "-",
                cell(known && s < prediction->stage_memory.size(),
                     known && s < prediction->stage_memory.size()
                         ? static_cast<double>(prediction->stage_memory[s].value) / 1e6
                         : 0.0,
                     1),
                cell(known && s < prediction->edge_time.size(),
                     known && s < prediction->edge_time.size() ? prediction->edge_time[s].value * 1e3 : 0.0, 3),
                stage.recompute ? "recomputes " : "",
                (stage.wire == "float32" ? "" : "wire " + stage.wire) +
                    (stage.transport == "auto" ? "" : " over " + stage.transport))) +
            '\n';
  }
  return text;
}

std::string after_pauses(const Prediction& prediction) {
  return prediction.expected == prediction.iteration
             ? std::string()
             : fmt::format("; {:.4f} s with what devices gain after pauses", prediction.expected.value);
}

}  // namespace

std::string in_words(const Plan& plan) {
  std::string text = fmt::format("plan by {}: {} with {} micro-batches of {}{}\n\n", plan.planner, plan.schedule,
                                 plan.micro_batches, plan.micro_batch_size, plan.emulated ? " (emulated devices)" : "");
  text += picture(plan) + '\n' + stages_table(plan);
  text += "  (edge: to the next stage, one micro-batch there and its gradient back)\n";
  if (plan.prediction) {
    text += fmt::format("predicted iteration {:.4f} s, bubble {:.1f} %{}\n", plan.prediction->iteration.value,
                        plan.prediction->bubble_share * 100, after_pauses(*plan.prediction));
  }
  if (plan.certificate) {
    text += fmt::format("no plan is faster than {:.4f} s (gap {:.2f} %) among: {}\n",
                        plan.certificate->lower_bound.value, plan.certificate->gap * 100, plan.certificate->space);
  }
  return text;
}

}  // namespace motley

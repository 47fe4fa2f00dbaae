#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "motley/launcher/show.h"
#include "motley/plan/json_field.h"
#include "motley/record/json_lines.h"
#include "motley/report/words.h"

namespace motley {
namespace {

constexpr std::size_t kMostSteps = 20;

std::string summary_in_words(const nlohmann::json& line) {
  std::string text = fmt::format("median iteration {:.4f} s, {:.1f} samples/s", line.value("iteration_s", 0.0),
                                 line.value("samples_per_s", 0.0));
  if (line.contains("predicted_iteration_s")) {
    text += fmt::format(", predicted {:.4f} s", line.value("predicted_iteration_s", 0.0));
  }
  text += fmt::format("\n  {:<8} {:>10} {:>10} {:>12} {:>10}\n", "", "busy ms", "wait ms", "transfer ms", "peak MB");
  int rank = 0;
  for (const nlohmann::json& own : line.value("ranks", nlohmann::json::array())) {
    text += fmt::format("  rank {:<3} {:>10.3f} {:>10.3f} {:>12.3f} {:>10.1f}\n", rank++,
                        own.value("busy_s", 0.0) * 1e3, own.value("wait_s", 0.0) * 1e3,
                        own.value("transfer_s", 0.0) * 1e3, own.value("peak_memory_bytes", 0.0) / 1e6);
  }
  return text;
}

}  // namespace

std::string record_in_words(const std::filesystem::path& file) {
  std::vector<nlohmann::json> steps;
  std::string text;
  std::string end;
  std::vector<std::string> checkpoints;
  for (const nlohmann::json& line : read_json_lines(file)) {
    const std::string kind = line.value("kind", "");
    if (kind == "start") {
      text += fmt::format("{} at step {} of {}: plan by {}\n", line.value("first_step", 0) > 0 ? "resumed" : "started",
                          line.value("first_step", 0), line.value("steps", 0), line.value("planner", ""));
    } else if (kind == "step") {
      steps.push_back(line);
    } else if (kind == "checkpoint") {
      checkpoints.push_back(fmt::format("{} ({:.1f} ms)", line.value("step", 0), line.value("stall_s", 0.0) * 1e3));
    } else if (kind == "summary") {
      end = summary_in_words(line);
    }
  }
  const std::size_t every = std::max<std::size_t>(1, (steps.size() + kMostSteps - 1) / kMostSteps);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (i % every == 0 || i + 1 == steps.size()) {
      const nlohmann::json& line = steps[i];
      text += fmt::format("step {:>5}  loss {:.6f}  gradient norm {:.4f}  {:.3f} s  {:.1f} samples/s\n",
                          line.value("step", 0), line.value("loss", 0.0), line.value("gradient_norm", 0.0),
                          line.value("wall_s", 0.0), line.value("samples_per_s", 0.0));
    }
  }
  if (every > 1) {
    text += fmt::format("({} of {} steps; --json has all)\n", (steps.size() + every - 1) / every, steps.size());
  }
  if (!checkpoints.empty()) {
    text += fmt::format("checkpoints before step (training stood still for): {}\n", fmt::join(checkpoints, ", "));
  }
  return text + (end.empty() ? "no summary: the run has not ended, or was ended\n" : end);
}

std::string run_in_words(const std::filesystem::path& folder) {
  std::vector<AnalysedRun> runs;
  for (RunData& data : read_run_and_comparisons(folder)) {
    Analysis analysis = analyse(data);
    runs.push_back({std::move(data), std::move(analysis)});
  }
  std::string text = paragraph(runs) + '\n';
  for (const std::string& finding : findings(runs.front())) {
    text += "- " + finding + '\n';
  }
  return text;
}

std::string evaluation_in_words(const nlohmann::json& evaluation, const std::string& source) {
  const JsonField root(evaluation, source);
  std::string text =
      fmt::format("routing {} held-out queries among {} LLMs; the best of these is {}\n", root.at("queries").integer(),
                  root.at("models").integer(), root.at("best_single").text());
  text += fmt::format("  {:<20} {:>8} {:>10} {:>8} {:>14} {:>8}\n", "method", "right", "macro AUC", "Brier",
                      "USD per 1000", "AIQ");
  for (const nlohmann::json& row : evaluation.at("rows")) {
    const auto cell = [&](const char* key) {
      return row.contains(key) && row.at(key).is_number() ? fmt::format("{:.4f}", row.at(key).get<double>())
                                                          : std::string("-");
    };
    text += fmt::format("  {:<20} {:>8} {:>10} {:>8} {:>14.3f} {:>8}\n", row.value("name", ""), cell("accuracy"),
                        cell("macro_auc"), cell("brier"), row.value("usd_per_query", 0.0) * 1000, cell("aiq"));
  }
  return text;
}

}  // namespace motley

#include "motley/launcher/training_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "motley/base/median.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

constexpr std::size_t kWarmUpSteps = 2;

/// Of what comes after the steps that warm up, where anything does.
template <typename Value, typename Number>
double settled_median(const std::vector<Value>& all, Number&& number) {
  std::vector<double> values;
  for (std::size_t i = all.size() > 2 * kWarmUpSteps ? kWarmUpSteps : 0; i < all.size(); ++i) {
    values.push_back(number(all[i]));
  }
  return median(std::move(values));
}

nlohmann::json to_json(const RankTimes& times) {
  return {{"busy_s", times.busy.value}, {"wait_s", times.waiting.value}, {"transfer_s", times.transfer.value}};
}

std::string as_markdown(const std::vector<ConfigKey>& settings) {
  std::string text = "| key | value | from |\n|---|---|---|\n";
  for (const ConfigKey& key : settings) {
    text += fmt::format("| {} | `{}` | {} |\n", key.path, key.value, key.origin.empty() ? "default" : key.origin);
  }
  return text;
}

}  // namespace

void LinkRecord::add(const std::vector<LinkTimes>& step) {
  for (const LinkTimes& link : step) {
    Kind& kind = kinds_[{link.from, link.to, link.kind}];
    kind.last = link;
    kind.times_s.push_back(link.time.value);
  }
}

nlohmann::json LinkRecord::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [key, kind] : kinds_) {
    list.push_back({{"from", kind.last.from},
                    {"to", kind.last.to},
                    {"kind", kind.last.kind},
                    {"messages", kind.last.messages},
                    {"bytes", kind.last.bytes.value},
                    {"time_s", settled_median(kind.times_s, [](double time) { return time; })}});
  }
  return list;
}

TrainingRecord::TrainingRecord(const std::filesystem::path& file, RunFacts facts,
                               const std::filesystem::path& tensorboard)
    : facts_(std::move(facts)),
      batch_(static_cast<double>(facts_.global_batch)),
      lines_(file, facts_.first_step > 0),
      progress_({.task = fmt::format("train ({}{})", facts_.plan.planner, facts_.emulated ? ", emulated" : ""),
                 .total = facts_.steps,
                 .unit = "samples",
                 .units_per_part = batch_,
                 .first = facts_.first_step}) {
  nlohmann::json settings = nlohmann::json::object();
  for (const ConfigKey& key : facts_.settings) {
    settings[key.path] = key.value;
  }
  lines_.append({{"kind", "start"},
                 {"planner", facts_.plan.planner},
                 {"emulated", facts_.emulated},
                 {"plan", motley::to_json(facts_.plan)},
                 {"global_batch", facts_.global_batch},
                 {"first_step", facts_.first_step},
                 {"steps", facts_.steps},
                 {"settings", std::move(settings)}});
  if (!tensorboard.empty()) {
    events_.emplace(tensorboard);
    events_->text("settings", as_markdown(facts_.settings));
    events_->text("plan", "```json\n" + motley::to_json(facts_.plan).dump(1) + "\n```");
  }
}

void TrainingRecord::checkpoint(std::int64_t step, Seconds stall) {
  lines_.append({{"kind", "checkpoint"}, {"step", step}, {"stall_s", stall.value}});
}

void TrainingRecord::step(std::int64_t step, const StepResult& result) {
  walls_.push_back(result.wall.value);
  losses_.push_back(result.loss);
  nlohmann::json line = {{"kind", "step"},
                         {"step", step},
                         {"loss", result.loss},
                         {"gradient_norm", result.gradient_norm},
                         {"wall_s", result.wall.value},
                         {"samples_per_s", batch_ / result.wall.value}};
  if (!result.ranks.empty()) {
    times_.push_back(result.ranks);
    for (const RankTimes& times : result.ranks) {
      line["ranks_one_step_before"].push_back(to_json(times));
    }
  }
  lines_.append(line);
  if (events_) {
    add_to_events(step, result);
  }
  progress_.update(step + 1, fmt::format("loss {:.4f}", result.loss));
}

void TrainingRecord::add_to_events(std::int64_t step, const StepResult& result) {
  events_->scalars(step, std::vector<Scalar>{{"train/loss", static_cast<float>(result.loss)},
                                             {"train/gradient_norm", static_cast<float>(result.gradient_norm)},
                                             {"speed/samples_per_s", static_cast<float>(batch_ / result.wall.value)}});
  std::vector<Scalar> ranks;
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    ranks.push_back({fmt::format("busy_s/rank {}", rank), static_cast<float>(result.ranks[rank].busy.value)});
    ranks.push_back({fmt::format("wait_s/rank {}", rank), static_cast<float>(result.ranks[rank].waiting.value)});
  }
  if (!ranks.empty()) {
    events_->scalars(step - 1, ranks);  // their times are told one step later
  }
}

nlohmann::json TrainingRecord::summary(const std::vector<double>& peaks, const std::vector<std::string>& links) {
  const double iteration = settled_median(walls_, [](double wall) { return wall; });
  nlohmann::json summary = {
      {"kind", "summary"},        {"planner", facts_.plan.planner},      {"emulated", facts_.emulated},
      {"iteration_s", iteration}, {"samples_per_s", batch_ / iteration}, {"losses", losses_}};
  for (std::size_t rank = 0; rank < peaks.size(); ++rank) {
    const auto of_rank = [&](auto member) {
      return settled_median(times_, [&](const std::vector<RankTimes>& ranks) { return (ranks[rank].*member).value; });
    };
    summary["ranks"].push_back({{"busy_s", of_rank(&RankTimes::busy)},
                                {"wait_s", of_rank(&RankTimes::waiting)},
                                {"transfer_s", of_rank(&RankTimes::transfer)},
                                {"peak_memory_bytes", peaks[rank]}});
  }
  summary["sends"] = nlohmann::json::array();
  for (const std::string& of_rank : links) {
    for (nlohmann::json line : nlohmann::json::parse(of_rank)) summary["sends"].push_back(std::move(line));
  }
  if (facts_.plan.prediction) {
    summary["predicted_iteration_s"] = facts_.plan.prediction->expected.value;
    for (std::size_t s = 0; s < facts_.plan.stages.size(); ++s) {
      summary["predicted_stages"].push_back({{"rank", facts_.plan.stages[s].replicas.front().device},
                                             {"busy_s", facts_.plan.prediction->expected_busy_of(s).value},
                                             {"peak_memory_bytes", facts_.plan.prediction->stage_memory.at(s).value}});
    }
  }
  lines_.append(summary);
  return summary;
}

}  // namespace motley

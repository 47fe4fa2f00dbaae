#include "motley/launcher/training_record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "motley/base/log.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

constexpr std::size_t kWarmUpSteps = 2;
constexpr std::int64_t kProgressLines = 10;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0.0 : values[values.size() / 2];
}

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

}  // namespace

void SendRecord::add(const std::vector<SendTimes>& step) {
  for (const SendTimes& sends : step) {
    Kind& kind = kinds_[{sends.to, sends.kind}];
    kind.last = sends;
    kind.times_s.push_back(sends.time.value);
  }
}

nlohmann::json SendRecord::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [key, kind] : kinds_) {
    list.push_back({{"to", kind.last.to},
                    {"kind", kind.last.kind},
                    {"messages", kind.last.messages},
                    {"bytes", kind.last.bytes.value},
                    {"time_s", settled_median(kind.times_s, [](double time) { return time; })}});
  }
  return list;
}

TrainingRecord::TrainingRecord(const std::filesystem::path& file, const Plan& plan, bool emulated,
                               std::int64_t global_batch, std::int64_t first_step, std::int64_t steps)
    : lines_(file, first_step > 0),
      plan_(plan),
      emulated_(emulated),
      batch_(static_cast<double>(global_batch)),
      steps_(steps) {
  lines_.append({{"kind", "start"},
                 {"planner", plan.planner},
                 {"emulated", emulated},
                 {"plan", motley::to_json(plan)},
                 {"global_batch", global_batch},
                 {"first_step", first_step},
                 {"steps", steps}});
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
  if (step % std::max<std::int64_t>(1, steps_ / kProgressLines) == 0 || step + 1 == steps_) {
    spdlog::info("train ({}{}): step {}/{} loss {:.4f}, {:.0f} samples/s", plan_.planner, emulated_ ? ", emulated" : "",
                 step + 1, steps_, result.loss, batch_ / result.wall.value);
  }
}

nlohmann::json TrainingRecord::summary(const std::vector<double>& peaks, const std::vector<std::string>& sends) {
  const double iteration = settled_median(walls_, [](double wall) { return wall; });
  nlohmann::json summary = {{"kind", "summary"},
                            {"planner", plan_.planner},
                            {"emulated", emulated_},
                            {"iteration_s", iteration},
                            {"samples_per_s", batch_ / iteration},
                            {"losses", losses_}};
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
  for (std::size_t rank = 0; rank < sends.size(); ++rank) {
    for (nlohmann::json line : nlohmann::json::parse(sends[rank])) {
      line["from"] = rank;
      summary["sends"].push_back(std::move(line));
    }
  }
  if (plan_.prediction) {
    summary["predicted_iteration_s"] = plan_.prediction->iteration.value;
    for (std::size_t s = 0; s < plan_.stages.size(); ++s) {
      summary["predicted_stages"].push_back({{"rank", plan_.stages[s].replicas.front().device},
                                             {"busy_s", plan_.prediction->stage_busy.at(s).value},
                                             {"peak_memory_bytes", plan_.prediction->stage_memory.at(s).value}});
    }
  }
  lines_.append(summary);
  return summary;
}

}  // namespace motley

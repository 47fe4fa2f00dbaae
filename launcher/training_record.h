#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "motley/plan/plan.h"
#include "motley/record/json_lines.h"
#include "motley/runtime/executor.h"

namespace motley {

/// What one rank sent, step by step.
class SendRecord {
 public:
  void add(const std::vector<SendTimes>& step);

  /// [{"to", "kind", "messages", "bytes", "time_s"}], of one step; the time is the median over the settled steps.
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Kind {
    SendTimes last;
    std::vector<double> times_s;
  };
  std::map<std::pair<int, std::string>, Kind> kinds_;
};

/// record.jsonl of a training run and what the program says meanwhile, on rank 0: a line "start", one "step" each, and
/// a "summary" that holds measured beside predicted times and memory.
class TrainingRecord {
 public:
  /// Writes the "start" line; a run that goes on after step 0 adds to the file. Throws Fault when it cannot be written.
  TrainingRecord(const std::filesystem::path& file, const Plan& plan, bool emulated, std::int64_t global_batch,
                 std::int64_t first_step, std::int64_t steps);

  void step(std::int64_t step, const StepResult& result);

  /// After the copy of a checkpoint of `step`: how long training stood still.
  void checkpoint(std::int64_t step, Seconds stall);

  /// `peaks`: bytes by rank; `sends`: SendRecord::to_json() by rank, as text. Times are medians over all steps but the
  /// first two, which fill caches and allocators. Returns the line.
  nlohmann::json summary(const std::vector<double>& peaks, const std::vector<std::string>& sends);

 private:
  JsonLines lines_;
  const Plan plan_;
  bool emulated_;
  double batch_;
  std::int64_t steps_;
  std::vector<double> walls_;
  std::vector<double> losses_;
  std::vector<std::vector<RankTimes>> times_;  // [step][rank]
};

}  // namespace motley

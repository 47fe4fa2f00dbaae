#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "motley/base/progress.h"
#include "motley/config/config.h"
#include "motley/plan/plan.h"
#include "motley/record/event_file.h"
#include "motley/record/json_lines.h"
#include "motley/runtime/executor.h"

namespace motley {

/// What one rank saw of links, step by step.
class LinkRecord {
 public:
  void add(const std::vector<LinkTimes>& step);

  /// [{"from", "to", "kind", "messages", "bytes", "time_s"}], of one step; the time is the median over the settled
  /// steps.
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  struct Kind {
    LinkTimes last;
    std::vector<double> times_s;
  };
  std::map<std::tuple<int, int, std::string>, Kind> kinds_;
};

/// What a record says of its run once.
struct RunFacts {
  Plan plan;
  bool emulated = false;
  std::int64_t global_batch = 0;
  std::int64_t first_step = 0;
  std::int64_t steps = 0;
  std::vector<ConfigKey> settings;  ///< the effective configuration
};

/// record.jsonl of a training run and what the program says meanwhile, on rank 0: a line "start", one "step" each, and
/// a "summary" that holds measured beside predicted times and memory.
class TrainingRecord {
 public:
  /// Writes the "start" line; a run that goes on after step 0 adds to the file. The same goes to an event file of
  /// TensorBoard in folder `tensorboard` unless that is empty. Throws Fault when something cannot be written.
  TrainingRecord(const std::filesystem::path& file, RunFacts facts, const std::filesystem::path& tensorboard);

  void step(std::int64_t step, const StepResult& result);

  /// After the copy of a checkpoint of `step`: how long training stood still.
  void checkpoint(std::int64_t step, Seconds stall);

  /// `peaks`: bytes by rank; `links`: LinkRecord::to_json() by rank, as text. Times are medians over all steps but the
  /// first two, which fill caches and allocators. Returns the line.
  nlohmann::json summary(const std::vector<double>& peaks, const std::vector<std::string>& links);

 private:
  void add_to_events(std::int64_t step, const StepResult& result);

  const RunFacts facts_;
  double batch_;
  JsonLines lines_;
  std::optional<EventFile> events_;
  TaskProgress progress_;
  std::vector<double> walls_;
  std::vector<double> losses_;
  std::vector<std::vector<RankTimes>> times_;  // [step][rank]
};

}  // namespace motley

#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "motley/plan/plan.h"
#include "motley/plan/profile.h"
#include "motley/record/trace.h"

namespace motley {

/// What a rank did in one iteration.
struct RankShare {
  Seconds busy;
  Seconds waiting;
  Seconds transfer;  ///< messages whose time on the link it saw; they overlap with the rest
};

struct RecordedStep {
  std::int64_t step = 0;
  double loss = 0.0;
  double gradient_norm = 0.0;
  Seconds wall;
  std::vector<RankShare> ranks;  ///< empty where it is not known: the last step's times are told one step later
};

/// All sends of one kind between two ranks in one iteration.
struct RecordedSends {
  std::string kind;  ///< "0SEND_F"
  int from = 0;
  int to = 0;
  std::int64_t messages = 0;
  Bytes bytes;
  Seconds time;
};

/// What a run left in its folder. Only record.jsonl must be there; a run that was killed has no peaks and no sends.
struct RunData {
  std::string name;  ///< of the folder
  Plan plan;         ///< of the record, the latest where it was resumed under another
  bool emulated = false;
  std::int64_t last_start = 0;  ///< step at which that plan took over
  std::int64_t planned_steps = 0;
  std::vector<RecordedStep> steps;                            ///< ascending; of a step that was trained twice the later
  std::vector<std::pair<std::int64_t, Seconds>> checkpoints;  ///< step, and how long training stood still
  std::vector<Bytes> peak_memory;                             ///< by rank
  std::vector<RecordedSends> sends;
  std::optional<Profile> profile;  ///< the one that the plan was made for
  std::vector<TraceEvent> events;  ///< of trace.json
  nlohmann::json evaluation;       ///< of evaluation.json; null where the run was not evaluated
  nlohmann::json settings;         ///< of the record, by key as TOML; null in a record without
  std::string note;                ///< what was found and cannot be used
};

/// Reads record.jsonl, profile.json, trace.json and evaluation.json of `folder`. Throws InputError naming file and
/// field.
[[nodiscard]] RunData read_run(const std::filesystem::path& folder);

/// `folder` and the compared runs that `motley run` left in it ("compare-*"), in alphabetical order.
[[nodiscard]] std::vector<RunData> read_run_and_comparisons(const std::filesystem::path& folder);

}  // namespace motley

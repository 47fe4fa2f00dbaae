#include "motley/report/run_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/plan/files.h"
#include "motley/plan/json_field.h"
#include "motley/record/json_lines.h"

namespace motley {
namespace {

constexpr std::string_view kComparison = "compare-";

/// Lines of record.jsonl, one after the other.
class RecordReader {
 public:
  RecordReader(RunData& run, std::string source) : run_(run), source_(std::move(source)) {}

  void read(const nlohmann::json& line, int number) {
    const JsonField field(line, fmt::format("{}: line {}", source_, number));
    const std::string kind = field.at("kind").text();
    if (kind == "start") {
      start(line, field);
    } else if (kind == "step") {
      step(field);
    } else if (kind == "checkpoint") {
      run_.checkpoints.emplace_back(field.at("step").integer(), field.at("stall_s").seconds());
    } else if (kind == "summary") {
      summary(field);
    }
  }

  void finish() {
    if (!started_) {
      throw InputError::of("{}: has no line of kind \"start\", expected the record of a training run", source_);
    }
    for (auto& [number, recorded] : steps_) {
      run_.steps.push_back(std::move(recorded));
    }
  }

 private:
  void start(const nlohmann::json& line, const JsonField& field) {
    started_ = true;
    run_.plan = plan_from_json(line.at("plan"), field.name());
    run_.emulated = field.at("emulated").boolean();
    run_.last_start = field.at("first_step").integer();
    run_.planned_steps = field.at("steps").integer();
    run_.settings = line.value("settings", nlohmann::json());
    steps_.erase(steps_.lower_bound(run_.last_start), steps_.end());
  }

  void step(const JsonField& field) {
    RecordedStep recorded;
    recorded.step = field.at("step").integer();
    recorded.loss = field.at("loss").number();
    recorded.gradient_norm = field.at("gradient_norm").number();
    recorded.wall = field.at("wall_s").seconds();
    if (field.has("ranks_one_step_before")) {
      if (const auto before = steps_.find(recorded.step - 1); before != steps_.end()) {
        before->second.ranks.clear();
        for (const JsonField& rank : field.at("ranks_one_step_before").items()) {
          before->second.ranks.push_back(
              {rank.at("busy_s").seconds(), rank.at("wait_s").seconds(), rank.at("transfer_s").seconds()});
        }
      }
    }
    steps_[recorded.step] = std::move(recorded);
  }

  void summary(const JsonField& field) {
    run_.peak_memory.clear();
    run_.sends.clear();
    for (const JsonField& rank : field.at("ranks").items()) {
      run_.peak_memory.push_back(Bytes{static_cast<std::int64_t>(rank.at("peak_memory_bytes").number())});
    }
    if (!field.has("sends")) {
      return;
    }
    for (const JsonField& sends : field.at("sends").items()) {
      run_.sends.push_back({sends.at("kind").text(), static_cast<int>(sends.at("from").integer()),
                            static_cast<int>(sends.at("to").integer()), sends.at("messages").integer(),
                            sends.at("bytes").bytes(), sends.at("time_s").seconds()});
    }
  }

  RunData& run_;
  std::string source_;
  bool started_ = false;
  std::map<std::int64_t, RecordedStep> steps_;
};

std::string name_of(const std::filesystem::path& folder) {
  const std::filesystem::path whole = std::filesystem::absolute(folder).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

void expect_ranks(int rank, const RunData& run, const std::string& what) {
  if (run.profile && rank >= run.profile->cluster.size()) {
    throw InputError::of("{}: names rank {}, its profile.json has {} devices", what, rank, run.profile->cluster.size());
  }
}

/// The profile, if it is the plan's; the report then shows limits, links and the simulated iteration.
void add_profile(RunData& run, const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) {
    run.note = "There is no profile.json in the run's folder (train with --profile), so nothing is simulated.";
    return;
  }
  Profile profile = read_profile(file);
  const std::string found = fingerprint(profile);
  if (!run.plan.profile_fingerprint.empty() && run.plan.profile_fingerprint != found) {
    run.note = fmt::format(
        "The profile.json in the run's folder ({}) is not the one the plan was made for ({}), so it "
        "is left out.",
        found.substr(0, 8), run.plan.profile_fingerprint.substr(0, 8));
    return;
  }
  validate(run.plan, static_cast<int>(profile.model.layers.size()), profile.cluster.size(), "plan of the record");
  run.profile = std::move(profile);
}

}  // namespace

RunData read_run(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw InputError::of("{}: is no folder, expected that of a training run", folder.string());
  }
  RunData run;
  run.name = name_of(folder);
  const std::filesystem::path record = folder / "record.jsonl";
  RecordReader reader(run, record.string());
  int number = 0;
  for (const nlohmann::json& line : read_json_lines(record)) {
    reader.read(line, ++number);
  }
  reader.finish();
  add_profile(run, folder / "profile.json");
  for (const RecordedSends& sends : run.sends) {
    expect_ranks(std::max(sends.from, sends.to), run, record.string());
  }
  expect_ranks(static_cast<int>(run.peak_memory.size()) - 1, run, record.string());
  if (std::filesystem::exists(folder / "trace.json")) {
    run.events = read_trace(folder / "trace.json");
  }
  const std::filesystem::path evaluation = folder / "evaluation.json";
  if (std::filesystem::exists(evaluation)) {
    run.evaluation = parse_json(read_text(evaluation, "an evaluation"), evaluation.string());
    if (kind_of(run.evaluation) != "evaluation") {
      throw InputError::of("{}: field \"motley\" says \"{}\", expected \"evaluation\"", evaluation.string(),
                           kind_of(run.evaluation));
    }
  }
  return run;
}

std::vector<RunData> read_run_and_comparisons(const std::filesystem::path& folder) {
  std::vector<RunData> runs{read_run(folder)};
  std::vector<std::filesystem::path> others;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(kComparison) &&
        std::filesystem::exists(entry.path() / "record.jsonl")) {
      others.push_back(entry.path());
    }
  }
  std::ranges::sort(others);
  for (const std::filesystem::path& other : others) {
    RunData run = read_run(other);
    run.name = run.name.substr(kComparison.size());
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace motley

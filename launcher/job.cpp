#include "motley/launcher/job.h"

#include "motley/base/error.h"
#include "motley/launcher/mpirun.h"
#include "motley/record/json_lines.h"

namespace motley {

void run_job(const Invocation& invocation, const Config& config, const std::string& command,
             const std::vector<std::string>& words, const std::vector<std::string>& more, bool quiet) {
  std::vector<std::string> all{command};
  all.insert(all.end(), words.begin(), words.end());
  all.insert(all.end(), more.begin(), more.end());
  if (quiet) {
    all.emplace_back("--quiet");
  }
  const MpiOutcome outcome = run_under_mpi(config.devices.ranks, invocation.program, all);
  if (outcome.interrupted) {
    throw Fault::of("motley {} was interrupted", command);
  }
  if (outcome.exit_code == 1 || outcome.exit_code == 2) {
    throw RanksFailed(outcome.exit_code);
  }
  if (outcome.exit_code != 0) {
    throw Fault::of("motley {} on {} ranks ended with exit code {}", command, config.devices.ranks, outcome.exit_code);
  }
}

nlohmann::json summary_of(const std::filesystem::path& record) {
  for (const nlohmann::json& line : read_json_lines(record)) {
    if (line.value("kind", "") == "summary") {
      return line;
    }
  }
  throw Fault::of("{}: has no summary, the training did not end", record.string());
}

}  // namespace motley

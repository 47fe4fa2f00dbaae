#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "motley/config/config.h"
#include "motley/launcher/commands.h"

namespace motley {

/// Runs `motley command words... more...` on the configuration's ranks under mpirun and waits. Throws RanksFailed where
/// a rank has said what was wrong, Fault for what else ended it.
void run_job(const Invocation& invocation, const Config& config, const std::string& command,
             const std::vector<std::string>& words, const std::vector<std::string>& more, bool quiet);

/// The summary line at the end of a training's record.jsonl. Throws Fault where there is none.
[[nodiscard]] nlohmann::json summary_of(const std::filesystem::path& record);

}  // namespace motley

#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "motley/report/words.h"

namespace motley {

/// All that the page shows, as its scripts read it. Times in seconds, memory in bytes.
[[nodiscard]] nlohmann::json page_data(std::span<const AnalysedRun> runs);

/// One HTML page that holds everything: data, styles, scripts and the chart library. It asks the network for nothing
/// and its Content-Security-Policy forbids it to. `runs`: at least one; the first is the one that the others are
/// compared with.
[[nodiscard]] std::string page_of(std::span<const AnalysedRun> runs);

}  // namespace motley

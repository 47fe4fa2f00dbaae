#pragma once

#include <span>
#include <string>
#include <vector>

#include "motley/report/analysis.h"

namespace motley {

/// One run and what is known of it.
struct AnalysedRun {
  RunData data;
  Analysis analysis;
};

/// The first of `runs` in one paragraph of plain words and numbers, beside the others where there are any.
[[nodiscard]] std::string paragraph(std::span<const AnalysedRun> runs);

/// What stands out in a run and what to do about it, a sentence or two each, the costliest first. The thresholds are in
/// the source.
[[nodiscard]] std::vector<std::string> findings(const AnalysedRun& run);

}  // namespace motley

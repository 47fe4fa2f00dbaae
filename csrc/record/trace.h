#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "motley/base/units.h"

namespace motley {

/// One bar of a trace: an action or a transfer, measured or simulated.
struct TraceEvent {
  std::string name;      ///< "2F3"
  std::string category;  ///< "compute", "transfer", "wait"
  std::string process;   ///< "measured", "simulated"
  std::string lane;      ///< "rank 2", "rank 2 to 3"
  Seconds start;
  Seconds end;
};

/// Chrome's trace event format (JSON object form, complete events), which Perfetto and chrome://tracing open.
void write_trace(const std::filesystem::path& file, const std::vector<TraceEvent>& events);

/// What write_trace() wrote, in its order, times to a nanosecond. Throws InputError naming file and event.
[[nodiscard]] std::vector<TraceEvent> read_trace(const std::filesystem::path& file);

}  // namespace motley

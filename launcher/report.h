#pragma once

#include <filesystem>
#include <vector>

namespace motley {

/// Writes a report of these runs, each followed by the plans it was compared with. Returns the file: `file`, or
/// report.html in the first folder where that is empty. Throws InputError naming what cannot be read, or Fault.
std::filesystem::path write_report(const std::vector<std::filesystem::path>& folders, std::filesystem::path file);

}  // namespace motley

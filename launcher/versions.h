#pragma once

#include <string>
#include <utility>
#include <vector>

namespace motley {

/// Name and version of Motley and of what it was built with and runs on; "not compiled in" where it is so.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> version_table();

/// The same, a line each.
[[nodiscard]] std::string versions();

}  // namespace motley

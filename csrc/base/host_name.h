#pragma once

#include <string>

namespace motley {

/// As the kernel has it; "host" where it has none to tell.
[[nodiscard]] std::string host_name();

}  // namespace motley

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "motley/comm/communicator.h"

namespace motley {

/// Every rank's `mine`, one after the other by rank, on every rank. Collective; the same size everywhere.
[[nodiscard]] std::vector<double> gather(Communicator& communicator, const std::vector<double>& mine,
                                         std::string_view label);

/// Every rank's text by rank, on every rank; lengths may differ. Collective. Sends the longest length from each.
[[nodiscard]] std::vector<std::string> gather(Communicator& communicator, const std::string& mine,
                                              std::string_view label);

}  // namespace motley

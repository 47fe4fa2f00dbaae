#pragma once

#include <string>

#include "motley/comm/detail/wire.h"

namespace motley {

struct WorkState;

/// Why a message from `sender` does not fit the receive that `receiver` posted for it; "" when it does.
[[nodiscard]] std::string mismatch(const MessageHeader& header, const WorkState& work, int sender, int receiver);

}  // namespace motley

#pragma once

#include "motley/comm/detail/wire.h"

namespace motley {

/// A fresh secret that connections of one run know each other by.
[[nodiscard]] RunToken new_run_token();

}  // namespace motley

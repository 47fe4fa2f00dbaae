#pragma once

#include "motley/schedule/schedule.h"

namespace motley {

/// Throws InputError naming the action when the executor could not run `lowered`, or would train something else: what
/// validate() reports, actions that the executor does not have yet, a NORM or UPDATE before the rank's last compute.
/// The same on every rank, before anything waits. O(actions log actions).
void expect_runnable(const Schedule& lowered);

}  // namespace motley

#pragma once

#include "motley/launcher/commands.h"

namespace motley {

/// What `motley bench` offers, by its first word.
int bench_plans(const Invocation& invocation);
int bench_planner(const Invocation& invocation);

}  // namespace motley

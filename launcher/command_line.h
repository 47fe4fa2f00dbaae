#pragma once

#include <string_view>

namespace motley {

class WorkloadRegistry;

/// The whole program: `motley COMMAND ...` with the workloads of `registry`. A program with a model of its own adds it
/// to builtin_workloads() and calls this from its main. Returns the exit code: 0, 1 (a fault), 2 (the user's mistake).
int run_command_line(int argc, char** argv, const WorkloadRegistry& registry);

/// What went wrong, as one line on stderr.
void complain(std::string_view text);

}  // namespace motley

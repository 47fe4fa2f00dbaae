#pragma once

namespace motley {

class WorkloadRegistry;

/// The whole program: `motley COMMAND ...` with the workloads of `registry`. A program with a model of its own adds it
/// to builtin_workloads() and calls this from its main. Returns the exit code: 0, 1 (a fault), 2 (the user's mistake).
int run_command_line(int argc, char** argv, const WorkloadRegistry& registry);

}  // namespace motley

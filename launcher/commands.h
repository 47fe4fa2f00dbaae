#pragma once

#include <string>
#include <vector>

namespace motley {

class WorkloadRegistry;

/// What every subcommand gets: its own arguments, and what it may not find out by itself.
struct Invocation {
  std::string program;  ///< how this program was called, for hand-over to mpirun
  std::vector<std::string> arguments;
  const WorkloadRegistry& registry;
};

/// One file a subcommand. Each returns the exit code and throws InputError or Fault.
int command_profile(const Invocation& invocation);
int command_import(const Invocation& invocation);
int command_plan(const Invocation& invocation);
int command_simulate(const Invocation& invocation);
int command_train(const Invocation& invocation);
int command_evaluate(const Invocation& invocation);
int command_show(const Invocation& invocation);
int command_run(const Invocation& invocation);

}  // namespace motley

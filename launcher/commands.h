#pragma once

#include <span>
#include <string>
#include <vector>

namespace motley {

class WorkloadRegistry;

struct OptionDescription {
  std::string name;  ///< without the dashes
  std::string meaning;
  bool takes_value = false;
};

/// What every subcommand gets: its own arguments, and what it may not find out by itself.
struct Invocation {
  std::string program;  ///< how this program was called, for hand-over to mpirun
  std::vector<std::string> arguments;
  const WorkloadRegistry& registry;
  std::vector<OptionDescription>* describe = nullptr;  ///< if there: parse_options() fills it and does no more
};

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Invocation&);
};

/// In the order of `motley --help`.
[[nodiscard]] std::span<const Command> all_commands();

/// One file a subcommand. Each returns the exit code and throws InputError or Fault.
int command_profile(const Invocation& invocation);
int command_import(const Invocation& invocation);
int command_plan(const Invocation& invocation);
int command_check(const Invocation& invocation);
int command_simulate(const Invocation& invocation);
int command_train(const Invocation& invocation);
int command_evaluate(const Invocation& invocation);
int command_report(const Invocation& invocation);
int command_export(const Invocation& invocation);
int command_schedule(const Invocation& invocation);
int command_show(const Invocation& invocation);
int command_config(const Invocation& invocation);
int command_doctor(const Invocation& invocation);
int command_bench(const Invocation& invocation);
int command_completion(const Invocation& invocation);
int command_run(const Invocation& invocation);

}  // namespace motley

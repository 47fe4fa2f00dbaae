#pragma once

#include <string>
#include <vector>

#include "motley/config/config.h"
#include "motley/launcher/options.h"

namespace motley {

/// What every command with a configuration takes: its file, and values that overrule the file's.
struct ConfigArguments {
  std::string file;
  std::vector<std::string> assignments;
  std::string device;  ///< overrules both

  /// Adds `config` (the positional one), `--set` and `--device`.
  void add_to(po::options_description& options, bool required = true);

  /// Throws InputError as read_config() does, and for a planner that does not exist. Without a file: the defaults.
  [[nodiscard]] Config read() const;

  /// The same, as words for another command.
  [[nodiscard]] std::vector<std::string> words() const;
};

}  // namespace motley

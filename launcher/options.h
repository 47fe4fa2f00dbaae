#pragma once

#include <boost/program_options.hpp>
#include <optional>
#include <string>
#include <vector>

#include "motley/launcher/commands.h"

namespace motley {

namespace po = boost::program_options;

/// Parses a subcommand's arguments. Returns nothing after `--help`, which prints `usage`, the options and an example.
/// Boost's complaints become InputErrors that name the command.
[[nodiscard]] std::optional<po::variables_map> parse_options(const Invocation& invocation, const std::string& command,
                                                             const std::string& usage, const std::string& example,
                                                             po::options_description options,
                                                             const std::string& positional);

}  // namespace motley

#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace motley {

/// What reaches stderr. Results go to stdout and never through here.
enum class Verbosity { Quiet, Normal, Debug };

/// Sends spdlog's default logger to stderr, each line headed by `who` ("rank 2") where it is not empty.
void start_logging(Verbosity verbosity, const std::string& who);

}  // namespace motley

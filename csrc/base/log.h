#pragma once

#include <spdlog/spdlog.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace motley {

/// What reaches stderr. Results go to stdout and never through here.
enum class Verbosity { Quiet, Normal, Debug };

/// Columns of the terminal behind a file descriptor; 0 where there is none.
[[nodiscard]] std::size_t terminal_columns(int descriptor);

/// Sends spdlog's default logger to stderr, each line headed by `who` ("rank 2") where it is not empty. `columns`: of
/// the terminal that shows stderr in the end, 0 for none; see TaskProgress.
void start_logging(Verbosity verbosity, const std::string& who, std::size_t columns = 0);

/// As start_logging() was told.
[[nodiscard]] std::size_t log_columns();

/// In place of the last line of a terminal: the next line of the log, or the next call, takes it away.
void draw_below_log(std::string_view line);

}  // namespace motley

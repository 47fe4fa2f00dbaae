#include "motley/base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

namespace motley {
namespace {

constexpr std::size_t kUsualColumns = 80;  // of terminals that do not know
constexpr const char* kClearLine = "\r\x1b[K";

std::size_t& columns_of_log() {
  static std::size_t columns = 0;
  return columns;
}

}  // namespace

std::size_t terminal_columns(int descriptor) {
  if (isatty(descriptor) == 0) {
    return 0;
  }
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsualColumns;
}

void start_logging(Verbosity verbosity, const std::string& who, std::size_t columns) {
  columns_of_log() = columns;
  auto logger = std::make_shared<spdlog::logger>("motley", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern((columns > 0 ? kClearLine : "") +
                      std::string(who.empty() ? "%^%l%$ %v" : "%^%l%$ " + who + ": %v"));
  switch (verbosity) {
    case Verbosity::Quiet:
      logger->set_level(spdlog::level::err);
      break;
    case Verbosity::Normal:
      logger->set_level(spdlog::level::info);
      break;
    case Verbosity::Debug:
      logger->set_level(spdlog::level::debug);
      break;
  }
  spdlog::set_default_logger(std::move(logger));
}

std::size_t log_columns() {
  return columns_of_log();
}

void draw_below_log(std::string_view line) {
  // One write, so that lines of other processes on the same terminal do not tear it.
  const std::string text = kClearLine + std::string(line);
  (void)!::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace motley

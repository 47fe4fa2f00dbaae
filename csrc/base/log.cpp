#include "motley/base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace motley {

void start_logging(Verbosity verbosity, const std::string& who) {
  auto logger = std::make_shared<spdlog::logger>("motley", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern(who.empty() ? "%^%l%$ %v" : "%^%l%$ " + who + ": %v");
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

}  // namespace motley

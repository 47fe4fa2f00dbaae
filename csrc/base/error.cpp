#include "motley/base/error.h"

#include <filesystem>

namespace motley {

std::string message_of(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find("\nException raised from "));
}

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  throw InternalError(fmt::format("internal error at {}:{}: {} does not hold{}{}",
                                  std::filesystem::path(file).filename().string(), line, condition,
                                  message.empty() ? "" : ": ", message));
}

}  // namespace motley

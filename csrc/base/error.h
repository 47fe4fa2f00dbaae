#pragma once

#include <fmt/format.h>

#include <exception>
#include <stdexcept>
#include <string>

namespace motley {

/// The user's mistake: a wrong file, field or flag. The message names it, says what was found and what was expected.
/// The launcher prints the message alone and exits with 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;

  template <typename... Args>
  [[nodiscard]] static InputError of(fmt::format_string<Args...> format, Args&&... args) {
    return InputError(fmt::format(format, std::forward<Args>(args)...));
  }
};

/// Something failed that no input explains: a full disk, a lost rank, a system call. Exit code 1.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;

  template <typename... Args>
  [[nodiscard]] static Fault of(fmt::format_string<Args...> format, Args&&... args) {
    return Fault(fmt::format(format, std::forward<Args>(args)...));
  }
};

/// Our own mistake, thrown by MOTLEY_CHECK. Exit code 1.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// What `error` says, without the stack that LibTorch puts below some messages.
[[nodiscard]] std::string message_of(const std::exception& error);

[[noreturn]] void fail_check(const char* file, int line, const char* condition, const std::string& message);

}  // namespace motley

/// The one check for conditions that only a fault in Motley can break. Stays on in release builds.
#define MOTLEY_CHECK(condition, ...)                                                       \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      ::motley::fail_check(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                      \
  } while (false)

#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "motley/comm/communicator.h"

namespace motley {

inline CommOptions with_deadline(double seconds) {
  CommOptions options;
  options.deadline = {seconds};
  return options;
}

/// Runs `body` once per rank, each on a thread of its own, and throws the first exception that a body let out. Each
/// rank's communicator ends on its own thread, by unwinding where the body throws.
inline void run_ranks(int size, const CommOptions& options, const std::function<void(Communicator&)>& body) {
  auto communicators = connect_in_process(size, options);
  std::vector<std::exception_ptr> thrown(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < communicators.size(); ++rank) {
    threads.emplace_back([&, own = std::move(communicators[rank]), rank]() mutable {
      try {
        const auto communicator = std::move(own);
        body(*communicator);
      } catch (...) {
        thrown[rank] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& exception : thrown) {
    if (exception) std::rethrow_exception(exception);
  }
}

/// What `action` threw as CommError, "" when nothing.
inline std::string failure_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const CommError& error) {
    return error.what();
  }
  return "";
}

template <typename Element>
std::span<const std::byte> bytes_of(const std::vector<Element>& values) {
  return std::as_bytes(std::span(values));
}

template <typename Element>
std::span<std::byte> bytes_of(std::vector<Element>& values) {
  return std::as_writable_bytes(std::span(values));
}

}  // namespace motley

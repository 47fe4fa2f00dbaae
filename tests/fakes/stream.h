#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "motley/cuda/api.h"

namespace motley::fakes {

/// One record of an event.
struct Mark {
  std::uint64_t number = 0;
  int stream = 0;
  std::atomic<bool> passed{false};
  double time = 0.0;  // written before `passed`
};

/// A queue of work and the thread that does it, in order.
class Queue {
 public:
  Queue(int device, int number) : device_(device), number_(number) {}
  /// The thread keeps `queue` until it has done all work after close().
  static void start(const std::shared_ptr<Queue>& queue);

  void push(std::function<void()> work);
  void close();
  [[nodiscard]] bool idle() const;
  /// Returns when what was pushed so far is done.
  void drain();

  [[nodiscard]] int device() const { return device_; }
  [[nodiscard]] int number() const { return number_; }

 private:
  void run();

  int device_;
  int number_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool busy_ = false;
  bool closed_ = false;
};

/// The live stream behind a handle; null, and blamed, when there is none.
[[nodiscard]] std::shared_ptr<Queue> queue_of(CudaStream stream, const char* caller);

/// Takes memory of a device, or gives it back where `bytes` is negative.
void take_memory(int device, std::int64_t bytes);

/// CUDA's current device of this thread.
[[nodiscard]] int current_device();

[[nodiscard]] double steady_seconds();

}  // namespace motley::fakes

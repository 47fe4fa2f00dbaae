#pragma once

#include "motley/base/units.h"
#include "motley/cuda/device.h"

namespace motley {

/// A point in a stream that others can wait for. Timed ones tell when it was passed.
class StreamEvent {
 public:
  enum class Timing { Off, On };

  explicit StreamEvent(const CudaDevice& device, Timing timing = Timing::Off);
  ~StreamEvent();
  StreamEvent(StreamEvent&& other) noexcept;
  StreamEvent& operator=(StreamEvent&&) = delete;
  /// With one of the same device.
  void swap(StreamEvent& other) noexcept;

  /// True before the first record. Throws CudaError what failed on the device before it was passed.
  [[nodiscard]] bool passed() const;
  /// From `start` to this one, both timed and passed. A float's 24 bits of milliseconds: 0.1 us within a second.
  [[nodiscard]] Seconds since(const StreamEvent& start) const;

  [[nodiscard]] CudaEvent handle() const { return handle_; }

 private:
  const CudaDevice* device_;
  CudaEvent handle_ = nullptr;
};

/// Work in order on a device, beside that of other streams. Ends without waiting for it.
class Stream {
 public:
  /// `urgent`: its kernels go before those of other streams.
  explicit Stream(const CudaDevice& device, bool urgent = false);
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&&) = delete;

  void record(const StreamEvent& event);
  /// What comes next waits until `event`, as it was last recorded, is passed. Does not wait itself.
  void wait(const StreamEvent& event);
  /// `bytes` between memory of any two kinds; the host's must be pinned to go on without waiting.
  void copy(void* to, const void* from, std::size_t bytes);
  /// Calls `function` on a thread of CUDA's, which must not call CUDA nor wait for other streams.
  void call(void (*function)(void*), void* argument);
  /// Sleeps or spins (as the driver likes) until all is done: for start-up and tests, not within an iteration.
  void finish();

  [[nodiscard]] const CudaDevice& device() const { return *device_; }
  [[nodiscard]] CudaStream handle() const { return handle_; }

 private:
  const CudaDevice* device_;
  CudaStream handle_ = nullptr;
};

}  // namespace motley

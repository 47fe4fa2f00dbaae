#include "motley/cuda/stream.h"

#include <utility>

namespace motley {
namespace {

constexpr unsigned kEventDisableTiming = 2;
constexpr unsigned kStreamNonBlocking = 1;
constexpr int kUrgent = -5;      // clamped by CUDA to the highest there is
constexpr int kCopyDefault = 4;  // the pointers tell where they point to

}  // namespace

StreamEvent::StreamEvent(const CudaDevice& device, Timing timing) : device_(&device) {
  device.check(device.use().cudaEventCreateWithFlags(&handle_, timing == Timing::On ? 0 : kEventDisableTiming),
               "cudaEventCreateWithFlags");
}

StreamEvent::StreamEvent(StreamEvent&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}

void StreamEvent::swap(StreamEvent& other) noexcept {
  std::swap(handle_, other.handle_);
}

StreamEvent::~StreamEvent() {
  // Whatever failed has been told where it was met; after a sticky error every call fails.
  if (handle_ != nullptr) (void)device_->api().cudaEventDestroy(handle_);
}

bool StreamEvent::passed() const {
  const int error = device_->use().cudaEventQuery(handle_);
  if (error == kCudaNotReady) return false;
  device_->check(error, "cudaEventQuery");
  return true;
}

Seconds StreamEvent::since(const StreamEvent& start) const {
  float milliseconds = 0.0F;
  device_->check(device_->use().cudaEventElapsedTime(&milliseconds, start.handle_, handle_), "cudaEventElapsedTime");
  return {static_cast<double>(milliseconds) * 1e-3};
}

Stream::Stream(const CudaDevice& device, bool urgent) : device_(&device) {
  device.check(device.use().cudaStreamCreateWithPriority(&handle_, kStreamNonBlocking, urgent ? kUrgent : 0),
               "cudaStreamCreateWithPriority");
}

Stream::Stream(Stream&& other) noexcept : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}

Stream::~Stream() {
  if (handle_ != nullptr) (void)device_->api().cudaStreamDestroy(handle_);
}

void Stream::record(const StreamEvent& event) {
  device_->check(device_->use().cudaEventRecord(event.handle(), handle_), "cudaEventRecord");
}

void Stream::wait(const StreamEvent& event) {
  device_->check(device_->use().cudaStreamWaitEvent(handle_, event.handle(), 0), "cudaStreamWaitEvent");
}

void Stream::copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  device_->check(device_->use().cudaMemcpyAsync(to, from, bytes, kCopyDefault, handle_), "cudaMemcpyAsync");
}

void Stream::call(void (*function)(void*), void* argument) {
  device_->check(device_->use().cudaLaunchHostFunc(handle_, function, argument), "cudaLaunchHostFunc");
}

void Stream::finish() {
  device_->check(device_->use().cudaStreamSynchronize(handle_), "cudaStreamSynchronize");
}

}  // namespace motley

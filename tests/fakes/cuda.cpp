// The CUDA runtime on the host: streams are queues, device memory is the host's.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "fakes/control.h"
#include "fakes/script.h"
#include "fakes/stream.h"

namespace motley::fakes {
namespace {

constexpr int kInvalidValue = 1;
constexpr int kInvalidDevice = 101;
constexpr int kInvalidHandle = 400;

struct Recorded {
  int device = 0;
  bool timed = false;
  std::shared_ptr<Mark> last;
};

struct Runtime {
  std::mutex mutex;
  std::map<CudaStream, std::shared_ptr<Queue>> streams;
  std::map<CudaEvent, Recorded> events;
  std::map<void*, std::size_t> device_blocks;
  std::set<void*> pinned_blocks;
  std::map<int, std::size_t> used;
  int next_stream = 1;
  std::uintptr_t next_handle = 0x1000;
  std::uint64_t next_mark = 1;
};

Runtime& runtime() {
  static Runtime* const instance = new Runtime;
  return *instance;
}

thread_local int this_device = 0;
thread_local int last_error = 0;

/// The machine's devices that CUDA_VISIBLE_DEVICES shows this process, in its order.
std::vector<int> visible_devices() {
  const int there = static_cast<int>(State::get().value("devices", -1).value_or(1.0));
  std::vector<int> visible;
  const char* const shown = std::getenv("CUDA_VISIBLE_DEVICES");
  if (shown == nullptr) {
    for (int device = 0; device < there; ++device) visible.push_back(device);
    return visible;
  }
  std::stringstream text(shown);
  for (std::string number; std::getline(text, number, ',');) {
    const int device = static_cast<int>(std::strtol(number.c_str(), nullptr, 10));
    if (device < 0 || device >= there) break;  // as with CUDA: what comes after it is hidden too
    visible.push_back(device);
  }
  return visible;
}

int device_count() {
  return static_cast<int>(visible_devices().size());
}

std::size_t memory_of(int device) {
  return static_cast<std::size_t>(State::get().value("memory", device).value_or(1e9));
}

int failed(int error) {
  last_error = error;
  return error;
}

/// What the script, or an error that stays, has for a call on `device`.
int fate(const char* call, int device) {
  if (const int error = State::get().broken(device)) return failed(error);
  if (const auto error = State::get().due(call, device)) return failed(static_cast<int>(*error));
  return kCudaSuccess;
}

std::shared_ptr<Mark> mark_of(CudaEvent event, const char* caller, bool& known) {
  const std::lock_guard lock(runtime().mutex);
  const auto found = runtime().events.find(event);
  known = found != runtime().events.end();
  if (!known) State::get().blame(std::string(caller) + " of an event that is not there");
  return known ? found->second.last : nullptr;
}

}  // namespace

std::shared_ptr<Queue> queue_of(CudaStream stream, const char* caller) {
  const std::lock_guard lock(runtime().mutex);
  const auto found = runtime().streams.find(stream);
  if (found != runtime().streams.end()) return found->second;
  State::get().blame(std::string(caller) + " on a stream that is not there");
  return nullptr;
}

void take_memory(int device, std::int64_t bytes) {
  const std::lock_guard lock(runtime().mutex);
  runtime().used[device] += static_cast<std::size_t>(bytes);
}

int current_device() {
  return this_device;
}

}  // namespace motley::fakes

using namespace motley;         // NOLINT(google-build-using-namespace)
using namespace motley::fakes;  // NOLINT(google-build-using-namespace)

extern "C" {

Control* motleyFakeCuda() {
  return &State::get();
}

int cudaDriverGetVersion(int* version) {
  *version = static_cast<int>(State::get().value("driver", -1).value_or(13000));
  return kCudaSuccess;
}

int cudaRuntimeGetVersion(int* version) {
  *version = static_cast<int>(State::get().value("runtime", -1).value_or(13000));
  return kCudaSuccess;
}

int cudaGetDeviceCount(int* count) {
  if (const int error = fate("cudaGetDeviceCount", -1)) return error;
  *count = device_count();
  return *count == 0 ? failed(kCudaNoDevice) : kCudaSuccess;
}

int cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return failed(kInvalidDevice);
  if (const int error = fate("cudaSetDevice", device)) return error;
  this_device = device;
  return kCudaSuccess;
}

int cudaGetDeviceProperties(void* properties, int device) {
  if (const int error = fate("cudaGetDeviceProperties", device)) return error;
  auto* const bytes = static_cast<unsigned char*>(properties);
  std::snprintf(static_cast<char*>(properties), 256, "fake GPU");
  // Devices of one machine differ, unless the script says that two names are one.
  const double uuid =
      State::get().value("uuid", device).value_or(visible_devices().at(static_cast<std::size_t>(device)));
  bytes[256] = 0xfa;
  bytes[256 + 15] = static_cast<unsigned char>(uuid);
  return kCudaSuccess;
}

int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  if (const int error = fate("cudaDeviceGetAttribute", device)) return error;
  const int capability = static_cast<int>(State::get().value("capability", device).value_or(90));
  *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 0;
  return kCudaSuccess;
}

int cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  if (const int error = fate("cudaMemGetInfo", this_device)) return error;
  const std::lock_guard lock(runtime().mutex);
  *total = memory_of(this_device);
  *free = *total - runtime().used[this_device];
  return kCudaSuccess;
}

int cudaMalloc(void** memory, std::size_t bytes) {
  if (const int error = fate("cudaMalloc", this_device)) return error;
  const std::lock_guard lock(runtime().mutex);
  std::size_t& used = runtime().used[this_device];
  if (used + bytes > memory_of(this_device)) return failed(kCudaOutOfMemory);
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  used += bytes;
  runtime().device_blocks[*memory] = bytes;
  State::get().change([](Counts& counts) { ++counts.device_blocks; });
  return kCudaSuccess;
}

int cudaFree(void* memory) {
  const std::lock_guard lock(runtime().mutex);
  const auto found = runtime().device_blocks.find(memory);
  if (found == runtime().device_blocks.end()) {
    State::get().blame("cudaFree of memory that is not there");
    return failed(kInvalidValue);
  }
  runtime().used[this_device] -= found->second;
  runtime().device_blocks.erase(found);
  std::free(memory);
  State::get().change([](Counts& counts) { --counts.device_blocks; });
  return kCudaSuccess;
}

int cudaHostAlloc(void** memory, std::size_t bytes, unsigned /*flags*/) {
  if (const int error = fate("cudaHostAlloc", this_device)) return error;
  const std::lock_guard lock(runtime().mutex);
  *memory = std::malloc(bytes);
  runtime().pinned_blocks.insert(*memory);
  State::get().change([](Counts& counts) { ++counts.pinned_blocks; });
  return kCudaSuccess;
}

int cudaFreeHost(void* memory) {
  const std::lock_guard lock(runtime().mutex);
  if (runtime().pinned_blocks.erase(memory) == 0) {
    State::get().blame("cudaFreeHost of memory that is not there");
    return failed(kInvalidValue);
  }
  std::free(memory);
  State::get().change([](Counts& counts) { --counts.pinned_blocks; });
  return kCudaSuccess;
}

int cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int /*kind*/, CudaStream stream) {
  if (const int error = fate("cudaMemcpyAsync", this_device)) return error;
  const auto queue = queue_of(stream, "cudaMemcpyAsync");
  if (!queue) return failed(kInvalidHandle);
  State::get().log({Operation::Kind::Copy, queue->device(), queue->number(), 0, 0, bytes, to});
  const int device = queue->device();
  queue->push([=] {
    if (State::get().broken(device) == 0) std::memcpy(to, from, bytes);
  });
  return kCudaSuccess;
}

int cudaStreamCreateWithPriority(CudaStream* stream, unsigned /*flags*/, int /*priority*/) {
  if (const int error = fate("cudaStreamCreateWithPriority", this_device)) return error;
  const std::lock_guard lock(runtime().mutex);
  const auto queue = std::make_shared<Queue>(this_device, runtime().next_stream++);
  Queue::start(queue);
  *stream = reinterpret_cast<CudaStream>(runtime().next_handle += 16);  // NOLINT(performance-no-int-to-ptr)
  runtime().streams[*stream] = queue;
  State::get().change([](Counts& counts) { ++counts.streams; });
  return kCudaSuccess;
}

int cudaStreamDestroy(CudaStream stream) {
  const auto queue = queue_of(stream, "cudaStreamDestroy");
  if (!queue) return failed(kInvalidHandle);
  const std::lock_guard lock(runtime().mutex);
  queue->close();
  runtime().streams.erase(stream);
  State::get().change([](Counts& counts) { --counts.streams; });
  return kCudaSuccess;
}

int cudaStreamQuery(CudaStream stream) {
  if (const int error = fate("cudaStreamQuery", this_device)) return error;
  const auto queue = queue_of(stream, "cudaStreamQuery");
  if (!queue) return failed(kInvalidHandle);
  return queue->idle() ? kCudaSuccess : kCudaNotReady;
}

int cudaStreamSynchronize(CudaStream stream) {
  if (const int error = fate("cudaStreamSynchronize", this_device)) return error;
  const auto queue = queue_of(stream, "cudaStreamSynchronize");
  if (!queue) return failed(kInvalidHandle);
  queue->drain();
  return fate("cudaStreamSynchronize", this_device);
}

int cudaStreamWaitEvent(CudaStream stream, CudaEvent event, unsigned /*flags*/) {
  if (const int error = fate("cudaStreamWaitEvent", this_device)) return error;
  const auto queue = queue_of(stream, "cudaStreamWaitEvent");
  bool known = false;
  const std::shared_ptr<Mark> mark = mark_of(event, "cudaStreamWaitEvent", known);
  if (!queue || !known) return failed(kInvalidHandle);
  if (mark == nullptr) return kCudaSuccess;
  State::get().log({Operation::Kind::Wait, queue->device(), queue->number(), mark->number, mark->stream});
  queue->push([mark] { mark->passed.wait(false); });
  return kCudaSuccess;
}

int cudaLaunchHostFunc(CudaStream stream, void (*function)(void*), void* argument) {
  if (const int error = fate("cudaLaunchHostFunc", this_device)) return error;
  const auto queue = queue_of(stream, "cudaLaunchHostFunc");
  if (!queue) return failed(kInvalidHandle);
  State::get().log({Operation::Kind::Call, queue->device(), queue->number()});
  queue->push([=] { function(argument); });
  return kCudaSuccess;
}

int cudaEventCreateWithFlags(CudaEvent* event, unsigned flags) {
  if (const int error = fate("cudaEventCreateWithFlags", this_device)) return error;
  const std::lock_guard lock(runtime().mutex);
  *event = reinterpret_cast<CudaEvent>(runtime().next_handle += 16);  // NOLINT(performance-no-int-to-ptr)
  runtime().events[*event] = {this_device, (flags & 2U) == 0, nullptr};
  State::get().change([](Counts& counts) { ++counts.events; });
  return kCudaSuccess;
}

int cudaEventDestroy(CudaEvent event) {
  const std::lock_guard lock(runtime().mutex);
  if (runtime().events.erase(event) == 0) {
    State::get().blame("cudaEventDestroy of an event that is not there");
    return failed(kInvalidHandle);
  }
  State::get().change([](Counts& counts) { --counts.events; });
  return kCudaSuccess;
}

int cudaEventRecord(CudaEvent event, CudaStream stream) {
  if (const int error = fate("cudaEventRecord", this_device)) return error;
  const auto queue = queue_of(stream, "cudaEventRecord");
  if (!queue) return failed(kInvalidHandle);
  const auto mark = std::make_shared<Mark>();
  {
    const std::lock_guard lock(runtime().mutex);
    const auto found = runtime().events.find(event);
    if (found == runtime().events.end()) {
      State::get().blame("cudaEventRecord of an event that is not there");
      return failed(kInvalidHandle);
    }
    if (found->second.device != queue->device()) {
      State::get().blame("cudaEventRecord of an event of another device");
      return failed(kInvalidHandle);
    }
    mark->number = runtime().next_mark++;
    mark->stream = queue->number();
    found->second.last = mark;
    if (const auto error = State::get().due("sticky", queue->device())) {
      State::get().break_device(queue->device(), static_cast<int>(*error));
    }
  }
  State::get().log({Operation::Kind::Record, queue->device(), queue->number(), mark->number});
  const double delay = State::get().value("event.delay", queue->device()).value_or(0.0);
  queue->push([mark, delay] {
    if (delay > 0.0) usleep(static_cast<useconds_t>(delay * 1e6));
    mark->time = steady_seconds();
    mark->passed = true;
    mark->passed.notify_all();
  });
  return kCudaSuccess;
}

int cudaEventQuery(CudaEvent event) {
  if (const int error = fate("cudaEventQuery", this_device)) return error;
  bool known = false;
  const std::shared_ptr<Mark> mark = mark_of(event, "cudaEventQuery", known);
  if (!known) return failed(kInvalidHandle);
  return mark == nullptr || mark->passed ? kCudaSuccess : kCudaNotReady;
}

int cudaEventElapsedTime(float* milliseconds, CudaEvent start, CudaEvent end) {
  if (const int error = fate("cudaEventElapsedTime", this_device)) return error;
  bool known = false;
  const std::shared_ptr<Mark> first = mark_of(start, "cudaEventElapsedTime", known);
  const std::shared_ptr<Mark> second = known ? mark_of(end, "cudaEventElapsedTime", known) : nullptr;
  if (!known || !first || !second) return failed(kInvalidHandle);
  if (!first->passed || !second->passed) return kCudaNotReady;
  *milliseconds = static_cast<float>((second->time - first->time) * 1e3);
  return kCudaSuccess;
}

int cudaGetLastError() {
  return std::exchange(last_error, kCudaSuccess);
}

const char* cudaGetErrorString(int error) {
  switch (error) {
    case kCudaOutOfMemory:
      return "out of memory";
    case kCudaNoDevice:
      return "no CUDA-capable device is detected";
    case kInvalidHandle:
      return "invalid resource handle";
    case 700:
      return "an illegal memory access was encountered";
    default:
      return "a scripted error";
  }
}

}  // extern "C"

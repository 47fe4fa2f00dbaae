#include "motley/device/host_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "motley/base/error.h"

namespace motley {

struct HostMemory::State {
  std::atomic<std::int64_t> live{0};
  std::atomic<std::int64_t> peak{0};
  std::atomic<std::int64_t> allocations{0};
  std::atomic<std::int64_t> cap{std::numeric_limits<std::int64_t>::max()};
};

namespace {

constexpr std::size_t kAlignment = 64;

// Stands in the 64 bytes before each block, since a deleter gets nothing but the pointer.
struct Header {
  HostMemory::State* state;
  std::int64_t bytes;
};
static_assert(sizeof(Header) <= kAlignment);

void free_block(void* data) {
  if (data == nullptr) {
    return;
  }
  char* block = static_cast<char*>(data) - kAlignment;
  const auto* header = reinterpret_cast<const Header*>(block);
  header->state->live.fetch_sub(header->bytes, std::memory_order_relaxed);
  std::free(block);
}

class CountingAllocator final : public c10::Allocator {
 public:
  [[nodiscard]] HostMemory::State* state() { return &state_; }

  c10::DataPtr allocate(std::size_t n) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (n == 0) {
      return {nullptr, nullptr, &free_block, cpu};
    }
    const auto bytes = static_cast<std::int64_t>(n);
    const std::int64_t live = state_.live.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    const std::int64_t cap = state_.cap.load(std::memory_order_relaxed);
    if (live > cap) {
      state_.live.fetch_sub(bytes, std::memory_order_relaxed);
      throw Fault::of("out of device memory: asked for {} bytes with {} bytes live, the cap is {} bytes", bytes,
                      live - bytes, cap);
    }
    void* block = nullptr;
    if (posix_memalign(&block, kAlignment, n + kAlignment) != 0) {
      state_.live.fetch_sub(bytes, std::memory_order_relaxed);
      throw Fault::of("the host gives no memory: asked for {} bytes with {} bytes live", bytes, live - bytes);
    }
    std::int64_t peak = state_.peak.load(std::memory_order_relaxed);
    while (peak < live && !state_.peak.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
    }
    state_.allocations.fetch_add(1, std::memory_order_relaxed);
    new (block) Header{&state_, bytes};
    void* data = static_cast<char*>(block) + kAlignment;
    return {data, data, &free_block, cpu};
  }

  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &free_block; }

  void copy_data(void* to, const void* from, std::size_t count) const override { std::memcpy(to, from, count); }

 private:
  HostMemory::State state_;
};

}  // namespace

HostMemory HostMemory::install(std::optional<Bytes> cap) {
  auto* allocator = new CountingAllocator;  // never freed: c10::SetAllocator asks for static lifetime
  HostMemory memory(allocator->state());
  memory.set_cap(cap);
  c10::SetCPUAllocator(allocator, std::numeric_limits<std::uint8_t>::max());
  return memory;
}

HostMemoryCounts HostMemory::counts() const {
  return {Bytes{state_->live.load()}, Bytes{state_->peak.load()}, state_->allocations.load()};
}

void HostMemory::reset_peak() {
  state_->peak.store(state_->live.load());
}

void HostMemory::set_cap(std::optional<Bytes> cap) {
  state_->cap.store(cap ? cap->value : std::numeric_limits<std::int64_t>::max());
}

}  // namespace motley

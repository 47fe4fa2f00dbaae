#include "motley/device/host_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "motley/base/error.h"

namespace motley {

namespace {

constexpr std::size_t kAlignment = 64;
// Blocks of different sizes cannot stand in for each other: room to keep those that are not live at the peak.
constexpr std::int64_t kShareCached = 8;
#ifdef __SANITIZE_ADDRESS__
constexpr bool kCaches = false;
#else
constexpr bool kCaches = true;
#endif

}  // namespace

struct HostMemory::State {
  std::mutex mutex;
  std::map<std::size_t, std::vector<void*>> cache;  // by size, rounded up; no list is empty
  HostMemoryCounts counts;
  std::int64_t in_use = 0;       // live bytes with every block rounded up
  std::int64_t most_in_use = 0;  // ever
  std::int64_t cap = std::numeric_limits<std::int64_t>::max();

  void* allocate(std::int64_t bytes);
  void free(void* data);

 private:
  void shrink();
};

namespace {

// Stands in the 64 bytes before each block, since a deleter gets nothing but the pointer.
struct Header {
  HostMemory::State* state;
  std::int64_t bytes;
};
static_assert(sizeof(Header) <= kAlignment);

Header* header_of(void* data) {
  return reinterpret_cast<Header*>(static_cast<char*>(data) - kAlignment);
}

std::size_t rounded(std::int64_t bytes) {
  return (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
}

void free_block(void* data) {
  if (data != nullptr) {
    header_of(data)->state->free(data);
  }
}

}  // namespace

void* HostMemory::State::allocate(std::int64_t bytes) {
  const std::lock_guard lock(mutex);
  const std::int64_t live = counts.live.value + bytes;
  if (live > cap) {
    throw Fault::of("out of device memory: asked for {} bytes with {} bytes live, the cap is {} bytes", bytes,
                    counts.live.value, cap);
  }
  const std::size_t size = rounded(bytes);
  void* data = nullptr;
  if (const auto found = cache.find(size); found != cache.end()) {
    data = found->second.back();
    found->second.pop_back();
    if (found->second.empty()) {
      cache.erase(found);
    }
    counts.cached -= Bytes{static_cast<std::int64_t>(size)};
  } else {
    void* block = nullptr;
    if (posix_memalign(&block, kAlignment, size + kAlignment) != 0) {
      throw Fault::of("the host gives no memory: asked for {} bytes with {} bytes live", bytes, counts.live.value);
    }
    data = static_cast<char*>(block) + kAlignment;
    ++counts.fresh;
  }
  new (header_of(data)) Header{this, bytes};
  counts.live = Bytes{live};
  counts.peak = std::max(counts.peak, counts.live);
  ++counts.allocations;
  in_use += static_cast<std::int64_t>(size);
  most_in_use = std::max(most_in_use, in_use);
  shrink();
  return data;
}

void HostMemory::State::free(void* data) {
  const std::lock_guard lock(mutex);
  const std::int64_t bytes = header_of(data)->bytes;
  counts.live -= Bytes{bytes};
  if (!kCaches) {
    std::free(header_of(data));
    return;
  }
  const std::size_t size = rounded(bytes);
  in_use -= static_cast<std::int64_t>(size);
  cache[size].push_back(data);
  counts.cached += Bytes{static_cast<std::int64_t>(size)};
  shrink();
}

void HostMemory::State::shrink() {
  const std::int64_t most = most_in_use + most_in_use / kShareCached;
  while (in_use + counts.cached.value > most) {
    // Small blocks are the cheapest to get again.
    const auto size = cache.begin();
    std::free(header_of(size->second.back()));
    counts.cached -= Bytes{static_cast<std::int64_t>(size->first)};
    size->second.pop_back();
    if (size->second.empty()) {
      cache.erase(size);
    }
  }
}

namespace {

class CountingAllocator final : public c10::Allocator {
 public:
  [[nodiscard]] HostMemory::State* state() { return &state_; }

  c10::DataPtr allocate(std::size_t n) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (n == 0) {
      return {nullptr, nullptr, &free_block, cpu};
    }
    void* data = state_.allocate(static_cast<std::int64_t>(n));
    return {data, data, &free_block, cpu};
  }

  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &free_block; }

  void copy_data(void* to, const void* from, std::size_t count) const override { std::memcpy(to, from, count); }

 private:
  HostMemory::State state_;
};

}  // namespace

HostMemory HostMemory::install(std::optional<Bytes> cap) {
  // Never freed: c10::SetAllocator asks for static lifetime, and blocks of one may be freed after the next is
  // installed.
  static auto& installed = *new std::vector<std::unique_ptr<CountingAllocator>>;
  CountingAllocator* const allocator = installed.emplace_back(std::make_unique<CountingAllocator>()).get();
  HostMemory memory(allocator->state());
  memory.set_cap(cap);
  c10::SetCPUAllocator(allocator, std::numeric_limits<std::uint8_t>::max());
  return memory;
}

HostMemoryCounts HostMemory::counts() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counts;
}

void HostMemory::reset_peak() {
  const std::lock_guard lock(state_->mutex);
  state_->counts.peak = state_->counts.live;
}

void HostMemory::set_cap(std::optional<Bytes> cap) {
  const std::lock_guard lock(state_->mutex);
  state_->cap = cap ? cap->value : std::numeric_limits<std::int64_t>::max();
}

}  // namespace motley

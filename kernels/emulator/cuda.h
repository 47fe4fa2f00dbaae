#pragma once

// What a .cu file needs of CUDA, for the host compiler: one fiber a thread, blocks one after the other, resumed in an
// order drawn from a seed. Nothing here is fast; everything that a kernel may do wrong is an error that says where.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#include "motley/kernels/space.h"

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's own names.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Blocks run one after the other, so one copy serves them all; thread-local, so that the race detector knows it from
// memory that blocks share. It reports a read of what no thread of the block wrote. AddressSanitizer, which watches the
// bounds of ordinary variables only, is built without the detector.
#ifdef __SANITIZE_ADDRESS__
#define __shared__ static
#else
#define __shared__ static thread_local
#endif

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3() = default;
  // As in CUDA, a number is a size.
  dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}  // NOLINT(google-explicit-constructor)
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

namespace motley::kernels {
namespace emulator {

/// A kernel did what a device leaves undefined: a race between barriers, a barrier or a warp operation that not all of
/// its threads reach, a lane outside its mask. Names the threads.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Coordinates {
  dim3 thread, block, block_size, grid_size;
};

/// Of the running fiber. InternalError-free: only kernels call it.
[[nodiscard]] const Coordinates& self();

void sync_threads();
void sync_warp(unsigned mask);
/// Each lane of `mask` gives `bits` and gets those of lane `source`.
[[nodiscard]] std::uint64_t shuffle(unsigned mask, std::uint64_t bits, int source);
/// A bit for each lane of `mask` whose `predicate` holds.
[[nodiscard]] unsigned ballot(unsigned mask, bool predicate);
[[nodiscard]] int lane();
/// Tells the race detector of an atomic access.
void atomic_access(const void* address, std::size_t bytes);

/// Seed of the order in which fibers are resumed, for launches from now on.
void set_seed(std::uint64_t seed);

/// Runs all blocks; returns when they are done. Throws KernelError.
void run(dim3 grid, dim3 block, const std::function<void()>& thread);

template <typename Value>
Value shuffle_from(unsigned mask, Value value, int source) {
  static_assert(sizeof(Value) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = shuffle(mask, bits, source);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace emulator

template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Stream /*stream*/, Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  emulator::run(grid, block, [&] { kernel(arguments...); });
  return 0;
}

}  // namespace motley::kernels

#define threadIdx (motley::kernels::emulator::self().thread)
#define blockIdx (motley::kernels::emulator::self().block)
#define blockDim (motley::kernels::emulator::self().block_size)
#define gridDim (motley::kernels::emulator::self().grid_size)

inline void __syncthreads() {
  motley::kernels::emulator::sync_threads();
}
inline void __syncwarp(unsigned mask = 0xffffffffU) {
  motley::kernels::emulator::sync_warp(mask);
}

template <typename Value>
Value __shfl_sync(unsigned mask, Value value, int source, int width = 32) {
  const int lane = motley::kernels::emulator::lane();
  return motley::kernels::emulator::shuffle_from(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <typename Value>
Value __shfl_xor_sync(unsigned mask, Value value, int lane_mask, int width = 32) {
  const int lane = motley::kernels::emulator::lane();
  const int source = lane ^ lane_mask;
  return motley::kernels::emulator::shuffle_from(mask, value,
                                                 (source & ~(width - 1)) == (lane & ~(width - 1)) ? source : lane);
}
template <typename Value>
Value __shfl_down_sync(unsigned mask, Value value, unsigned delta, int width = 32) {
  const int lane = motley::kernels::emulator::lane();
  const int source = lane + static_cast<int>(delta);
  return motley::kernels::emulator::shuffle_from(mask, value, source < (lane & ~(width - 1)) + width ? source : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return motley::kernels::emulator::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask ? 1 : 0;
}

template <typename Value>
Value atomicAdd(Value* address, Value value) {
  motley::kernels::emulator::atomic_access(address, sizeof(Value));
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
float atomicAdd(float* address, float value);
unsigned atomicMax(unsigned* address, unsigned value);

// NOLINTEND(bugprone-reserved-identifier)

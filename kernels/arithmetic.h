#pragma once

// Operations that a compiler could fuse or reorder, written out so that host and device give the same bits. Host
// sources are compiled with -ffp-contract=off.

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define MOTLEY_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define MOTLEY_HOST_DEVICE inline
#endif

namespace motley::kernels::arithmetic {

constexpr std::uint32_t kInfinityBits = 0x7f800000U;

MOTLEY_HOST_DEVICE std::uint32_t bits_of(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

MOTLEY_HOST_DEVICE float float_of(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

MOTLEY_HOST_DEVICE float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

MOTLEY_HOST_DEVICE float sum(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

MOTLEY_HOST_DEVICE float quotient(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

MOTLEY_HOST_DEVICE float square_root(float a) {
#ifdef __CUDA_ARCH__
  return __fsqrt_rn(a);
#else
  return std::sqrt(a);
#endif
}

/// a * b + c, rounded once.
MOTLEY_HOST_DEVICE float fused(float a, float b, float c) {
#ifdef __CUDA_ARCH__
  return __fmaf_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

MOTLEY_HOST_DEVICE float from_bfloat16(std::uint16_t bits) {
  return float_of(static_cast<std::uint32_t>(bits) << 16);
}

/// To nearest, ties to even; NaN stays NaN.
MOTLEY_HOST_DEVICE std::uint16_t to_bfloat16(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7fffffffU) > kInfinityBits ? 0x7fc0U : rounded);
}

// One spelling for both elements, so that loops can be templates.
MOTLEY_HOST_DEVICE float load(const float* from) {
  return *from;
}
MOTLEY_HOST_DEVICE float load(const std::uint16_t* from) {
  return from_bfloat16(*from);
}
MOTLEY_HOST_DEVICE void store(float* to, float value) {
  *to = value;
}
MOTLEY_HOST_DEVICE void store(std::uint16_t* to, float value) {
  *to = to_bfloat16(value);
}

}  // namespace motley::kernels::arithmetic

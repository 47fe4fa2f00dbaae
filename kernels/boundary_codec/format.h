#pragma once

// The arithmetic of one value and one scale, the same source for host and device: operations that a compiler could fuse
// or reorder are written out, so that both give the same bits.

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define MOTLEY_HOST_DEVICE __host__ __device__
#else
#define MOTLEY_HOST_DEVICE
#endif

namespace motley::kernels::codec {

constexpr std::uint32_t kInfinityBits = 0x7f800000U;
constexpr float kSmallest = 1e-30F;

MOTLEY_HOST_DEVICE inline std::uint32_t bits_of(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

MOTLEY_HOST_DEVICE inline float float_of(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

MOTLEY_HOST_DEVICE inline float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;  // compiled with -ffp-contract=off
#endif
}

MOTLEY_HOST_DEVICE inline float sum(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

MOTLEY_HOST_DEVICE inline float quotient(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

/// Magnitudes compare as their bits do, and an infinity or NaN is above all of them: a maximum over these loses
/// neither.
MOTLEY_HOST_DEVICE inline std::uint32_t magnitude(float value) {
  return bits_of(value) & 0x7fffffffU;
}

/// What a block multiplies its values by, 0 for one without codes.
MOTLEY_HOST_DEVICE inline float inverse_scale(std::uint32_t largest) {
  return largest >= kInfinityBits || float_of(largest) < kSmallest ? 0.0F : quotient(127.0F, float_of(largest));
}

/// What it stores, to multiply codes by.
MOTLEY_HOST_DEVICE inline float scale(std::uint32_t largest) {
  if (largest >= kInfinityBits) {
    return float_of(0x7fc00000U);
  }
  return float_of(largest) < kSmallest ? 0.0F : quotient(float_of(largest), 127.0F);
}

/// Uniform in [0, 1), a function of seed and place: splitmix64's finaliser (Steele, Lea, Flood 2014).
MOTLEY_HOST_DEVICE inline float uniform(std::uint64_t seed, std::uint64_t place) {
  std::uint64_t x = seed + (place + 1) * 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return static_cast<float>(x >> 40) * 0x1p-24F;
}

/// `inverse` is 0 where the value must not be looked at.
MOTLEY_HOST_DEVICE inline int code(float value, float inverse, bool stochastic, std::uint64_t seed,
                                   std::uint64_t place) {
  if (inverse == 0.0F) {
    return 0;
  }
  const float scaled = product(value, inverse);
  const float rounded = stochastic ? floorf(sum(scaled, uniform(seed, place))) : rintf(scaled);
  return static_cast<int>(fminf(fmaxf(rounded, -127.0F), 127.0F));
}

MOTLEY_HOST_DEVICE inline float from_bfloat16(std::uint16_t bits) {
  return float_of(static_cast<std::uint32_t>(bits) << 16);
}

/// To nearest, ties to even; NaN stays NaN.
MOTLEY_HOST_DEVICE inline std::uint16_t to_bfloat16(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffU) > kInfinityBits) {
    return 0x7fc0U;
  }
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

}  // namespace motley::kernels::codec

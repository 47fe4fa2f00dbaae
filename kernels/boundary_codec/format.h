#pragma once

// The arithmetic of one value and one scale, the same source for host and device.

#include "motley/kernels/arithmetic.h"

namespace motley::kernels::codec {

using namespace arithmetic;

constexpr float kSmallest = 1e-30F;

/// Magnitudes compare as their bits do, and an infinity or NaN is above all of them: a maximum over these loses
/// neither.
MOTLEY_HOST_DEVICE std::uint32_t magnitude(float value) {
  return bits_of(value) & 0x7fffffffU;
}

/// What a block multiplies its values by, 0 for one without codes.
MOTLEY_HOST_DEVICE float inverse_scale(std::uint32_t largest) {
  return largest >= kInfinityBits || float_of(largest) < kSmallest ? 0.0F : quotient(127.0F, float_of(largest));
}

/// What it stores, to multiply codes by.
MOTLEY_HOST_DEVICE float scale(std::uint32_t largest) {
  if (largest >= kInfinityBits) {
    return float_of(0x7fc00000U);
  }
  return float_of(largest) < kSmallest ? 0.0F : quotient(float_of(largest), 127.0F);
}

/// Uniform in [0, 1), a function of seed and place: splitmix64's finaliser (Steele, Lea, Flood 2014).
MOTLEY_HOST_DEVICE float uniform(std::uint64_t seed, std::uint64_t place) {
  std::uint64_t x = seed + (place + 1) * 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return static_cast<float>(x >> 40) * 0x1p-24F;
}

/// `inverse` is 0 where the value must not be looked at.
MOTLEY_HOST_DEVICE int code(float value, float inverse, bool stochastic, std::uint64_t seed, std::uint64_t place) {
  if (inverse == 0.0F) {
    return 0;
  }
  const float scaled = product(value, inverse);
  const float rounded = stochastic ? floorf(sum(scaled, uniform(seed, place))) : rintf(scaled);
  return static_cast<int>(fminf(fmaxf(rounded, -127.0F), 127.0F));
}

}  // namespace motley::kernels::codec

#pragma once

// The arithmetic of one value and one scale, the same source for host and device.

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/mix.h"

namespace motley::kernels::codec {

using namespace arithmetic;

constexpr float kSmallest = 1e-30F;

/// Magnitudes compare as their bits do, and an infinity or NaN is above all of them: a maximum over these loses
/// neither.
MOTLEY_HOST_DEVICE std::uint32_t magnitude(float value) {
  return bits_of(value) & 0x7fffffffU;
}

/// What a block multiplies its values by, 0 for one whose codes are all 0.
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

/// A block's random numbers start from this: SplitMix64 from `seed`, one number a block.
MOTLEY_HOST_DEVICE std::uint64_t block_key(std::uint64_t seed, std::uint64_t block) {
  return mix(seed + block * 0x9e3779b97f4a7c15ULL);
}

/// Uniform in [0, 1) with 24 bits, for value `place` of the block. MurmurHash3's 32-bit finaliser (Appleby, 2011) of
/// the place, started from one half of the key and disturbed by the other: vectors of 32-bit products are at hand
/// everywhere, those of 64 bits are not.
MOTLEY_HOST_DEVICE float uniform(std::uint64_t key, std::uint32_t place) {
  std::uint32_t x = static_cast<std::uint32_t>(key) + place * 0x9e3779b9U;
  x = (x ^ (x >> 16)) * 0x85ebca6bU;
  x ^= static_cast<std::uint32_t>(key >> 32);
  x = (x ^ (x >> 13)) * 0xc2b2ae35U;
  x ^= x >> 16;
  return product(static_cast<float>(static_cast<std::int32_t>(x >> 8)), 0x1p-24F);
}

/// Of a finite value whose magnitude is at most about 127. Adding 1.5 * 2^23 leaves no bits for a fraction: the sum's
/// low bits are the value rounded to nearest even.
MOTLEY_HOST_DEVICE int nearest(float scaled) {
  return static_cast<int>(bits_of(sum(scaled, 12582912.0F)) - 0x4b400000U);
}

/// The largest integer not above value + draw.
MOTLEY_HOST_DEVICE int up_by_chance(float scaled, float draw) {
  const float moved = sum(scaled, draw);
  const int cut = static_cast<int>(moved);
  return cut - (static_cast<float>(cut) > moved ? 1 : 0);
}

/// Rounding may leave a value's quotient a little above 127.
MOTLEY_HOST_DEVICE int within_a_byte(int code) {
  const int low = code < -127 ? -127 : code;
  return low > 127 ? 127 : low;
}

/// `inverse` is 0 where the value, which may be NaN, must not be looked at.
MOTLEY_HOST_DEVICE int code(float value, float inverse, bool stochastic, std::uint64_t key, std::uint32_t place) {
  if (inverse == 0.0F) {
    return 0;
  }
  const float scaled = product(value, inverse);
  return within_a_byte(stochastic ? up_by_chance(scaled, uniform(key, place)) : nearest(scaled));
}

}  // namespace motley::kernels::codec

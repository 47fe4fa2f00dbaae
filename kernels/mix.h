#pragma once

#include <cstdint>

#include "motley/kernels/arithmetic.h"

namespace motley::kernels {

/// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) after its increment: a bijection of 64-bit numbers
/// whose output bits look independent of the input's.
MOTLEY_HOST_DEVICE constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace motley::kernels

#pragma once

// Draws and factors, the same source for host and device.

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/dropout/dropout.h"
#include "motley/kernels/mix.h"

namespace motley::kernels::masks {

/// Values that share a 64-bit number, 16 bits each, the first value's lowest.
constexpr std::size_t kTogether = 4;

MOTLEY_HOST_DEVICE std::uint64_t row_key(const DropoutMask& mask, std::size_t row) {
  return mix(mask.key ^ (static_cast<std::uint64_t>(mask.first_sample) + row));
}

/// Of the row's values `first`, a multiple of kTogether, and those behind it.
MOTLEY_HOST_DEVICE std::uint64_t draws(std::uint64_t row_key, std::size_t first) {
  return mix(row_key + first);
}

/// What kept values are multiplied by.
MOTLEY_HOST_DEVICE float scale(const DropoutMask& mask) {
  return arithmetic::quotient(65536.0F, static_cast<float>(65536U - mask.threshold));
}

/// What value `place` of the four is multiplied by.
MOTLEY_HOST_DEVICE float factor(std::uint64_t draws, unsigned place, const DropoutMask& mask, float scale) {
  return static_cast<std::uint32_t>(draws >> (16 * place) & 0xffffU) < mask.threshold ? 0.0F : scale;
}

}  // namespace motley::kernels::masks

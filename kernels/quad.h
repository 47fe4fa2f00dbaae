#pragma once

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/launch.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// Four neighbouring values in registers as float32. In memory one 16-byte access of float32 or one 8-byte access of
/// bfloat16, aligned to its size; at the end of an array, element by element.
struct Quad {
  float value[4] = {0.0F, 0.0F, 0.0F, 0.0F};

  /// All four, with nothing checked.
  __device__ void load(const float* from) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    value[0] = four.x;
    value[1] = four.y;
    value[2] = four.z;
    value[3] = four.w;
  }
  __device__ void load(const std::uint16_t* from) {
    const uint2 two = *reinterpret_cast<const uint2*>(from);
    value[0] = arithmetic::float_of(two.x << 16);
    value[1] = arithmetic::float_of(two.x & 0xffff0000U);
    value[2] = arithmetic::float_of(two.y << 16);
    value[3] = arithmetic::float_of(two.y & 0xffff0000U);
  }
  __device__ void store(float* to) const { store_quad(to, 0); }
  __device__ void store(std::uint16_t* to) const { store_quad(to, 0); }

  /// Values to[4 * quad] and behind. (Of an address that is no such multiple to the compiler, nvcc 13 makes four
  /// accesses, other than when it loads.)
  __device__ void store_quad(float* to, std::size_t quad) const {
    reinterpret_cast<float4*>(to)[quad] = make_float4(value[0], value[1], value[2], value[3]);
  }
  __device__ void store_quad(std::uint16_t* to, std::size_t quad) const {
    const auto pair = [](float low, float high) {
      return arithmetic::to_bfloat16(low) | static_cast<std::uint32_t>(arithmetic::to_bfloat16(high)) << 16;
    };
    reinterpret_cast<uint2*>(to)[quad] = make_uint2(pair(value[0], value[1]), pair(value[2], value[3]));
  }

  /// Values from[i] to from[i + 3]; 0 for those at `count` and beyond.
  template <typename Value>
  __device__ void load(const Value* from, std::size_t i, std::size_t count) {
    if (i + 4 <= count) {
      load(from + i);
      return;
    }
    MOTLEY_UNROLL
    for (unsigned k = 0; k < 4; ++k) {
      if (i + k < count) {
        value[k] = arithmetic::load(from + i + k);
      }
    }
  }

  template <typename Value>
  __device__ void store(Value* to, std::size_t i, std::size_t count) const {
    if (i + 4 <= count) {
      store(to + i);
      return;
    }
    MOTLEY_UNROLL
    for (unsigned k = 0; k < 4; ++k) {
      if (i + k < count) {
        arithmetic::store(to + i + k, value[k]);
      }
    }
  }
};

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

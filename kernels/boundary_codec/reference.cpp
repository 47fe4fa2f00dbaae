#include <algorithm>
#include <cstring>

#include "motley/kernels/boundary_codec/boundary_codec.h"
#include "motley/kernels/boundary_codec/format.h"

namespace motley::kernels {
namespace {

float value_at(const void* values, Element element, std::size_t i) {
  return element == Element::Float32 ? codec::load(static_cast<const float*>(values) + i)
                                     : codec::load(static_cast<const std::uint16_t*>(values) + i);
}

std::size_t padded(std::size_t count) {
  return (count + kCodecBlock - 1) / kCodecBlock * kCodecBlock;
}

}  // namespace

void encode_reference(const void* values, Element element, std::size_t count, Rounding rounding, std::uint64_t seed,
                      void* codes) {
  auto* const code = static_cast<std::int8_t*>(codes);
  auto* const scales = static_cast<char*>(codes) + padded(count);
  for (std::size_t begin = 0; begin < count; begin += kCodecBlock) {
    const std::size_t end = std::min(begin + kCodecBlock, count);
    std::uint32_t largest = 0;
    for (std::size_t i = begin; i < end; ++i) {
      largest = std::max(largest, codec::magnitude(value_at(values, element, i)));
    }
    const float inverse = codec::inverse_scale(largest);
    const std::uint64_t key = codec::block_key(seed, begin / kCodecBlock);
    for (std::size_t i = begin; i < end; ++i) {
      code[i] =
          static_cast<std::int8_t>(codec::code(value_at(values, element, i), inverse, rounding == Rounding::Stochastic,
                                               key, static_cast<std::uint32_t>(i - begin)));
    }
    std::fill(code + end, code + begin + kCodecBlock, std::int8_t{0});
    const float scale = codec::scale(largest);
    std::memcpy(scales + begin / kCodecBlock * sizeof scale, &scale, sizeof scale);
  }
}

void decode_reference(const void* codes, std::size_t count, Element element, void* values) {
  const auto* const code = static_cast<const std::int8_t*>(codes);
  const auto* const scales = static_cast<const char*>(codes) + padded(count);
  for (std::size_t i = 0; i < count; ++i) {
    float scale = 0.0F;
    std::memcpy(&scale, scales + i / kCodecBlock * sizeof scale, sizeof scale);
    const float value = codec::product(static_cast<float>(code[i]), scale);
    if (element == Element::Float32) {
      static_cast<float*>(values)[i] = value;
    } else {
      static_cast<std::uint16_t*>(values)[i] = codec::to_bfloat16(value);
    }
  }
}

}  // namespace motley::kernels

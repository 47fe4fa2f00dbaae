#include "motley/kernels/boundary_codec/boundary_codec.h"

#include <cstring>

#include "motley/kernels/boundary_codec/format.h"
#include "motley/kernels/clones.h"

namespace motley::kernels {
namespace {

constexpr auto kBlock = static_cast<std::uint32_t>(kCodecBlock);

/// One whole block. Every loop has a fixed count and no branch, so that it vectorises.
template <bool kStochastic, typename Value>
MOTLEY_INLINE void encode_block(const Value* __restrict values, std::uint64_t seed, std::size_t block,
                                std::int8_t* __restrict codes, char* __restrict scales) {
  std::uint32_t largest = 0;
  for (std::uint32_t i = 0; i < kBlock; ++i) {
    const std::uint32_t magnitude = codec::magnitude(codec::load(values + i));
    largest = largest < magnitude ? magnitude : largest;
  }
  const float scale = codec::scale(largest);
  std::memcpy(scales + block * sizeof scale, &scale, sizeof scale);
  const float inverse = codec::inverse_scale(largest);
  if (inverse == 0.0F) {
    std::memset(codes, 0, kBlock);
    return;
  }
  const std::uint64_t key = codec::block_key(seed, block);
  for (std::uint32_t i = 0; i < kBlock; ++i) {
    const float scaled = codec::product(codec::load(values + i), inverse);
    const int code = kStochastic ? codec::up_by_chance(scaled, codec::uniform(key, i)) : codec::nearest(scaled);
    codes[i] = static_cast<std::int8_t>(codec::within_a_byte(code));
  }
}

template <bool kStochastic, typename Value>
MOTLEY_INLINE void encode_all(const Value* values, std::size_t count, std::uint64_t seed, std::int8_t* codes) {
  const std::size_t whole = count / kBlock;
  const std::size_t rest = count % kBlock;
  char* const scales = reinterpret_cast<char*>(codes) + (whole + (rest != 0 ? 1 : 0)) * kBlock;
  for (std::size_t block = 0; block < whole; ++block) {
    encode_block<kStochastic>(values + block * kBlock, seed, block, codes + block * kBlock, scales);
  }
  if (rest != 0) {
    // Zeros behind the values have code 0 whatever is drawn for them.
    Value padded[kBlock] = {};
    std::memcpy(padded, values + whole * kBlock, rest * sizeof(Value));
    encode_block<kStochastic>(padded, seed, whole, codes + whole * kBlock, scales);
  }
}

template <typename Value>
MOTLEY_INLINE void decode_block(const std::int8_t* __restrict codes, float scale, Value* __restrict values) {
  for (std::uint32_t i = 0; i < kBlock; ++i) {
    codec::store(values + i, codec::product(static_cast<float>(codes[i]), scale));
  }
}

template <typename Value>
MOTLEY_INLINE void decode_all(const std::int8_t* codes, std::size_t count, Value* values) {
  const std::size_t whole = count / kBlock;
  const std::size_t rest = count % kBlock;
  const char* const scales = reinterpret_cast<const char*>(codes) + (whole + (rest != 0 ? 1 : 0)) * kBlock;
  float scale = 0.0F;
  for (std::size_t block = 0; block < whole; ++block) {
    std::memcpy(&scale, scales + block * sizeof scale, sizeof scale);
    decode_block(codes + block * kBlock, scale, values + block * kBlock);
  }
  if (rest != 0) {
    Value padded[kBlock];
    std::memcpy(&scale, scales + whole * sizeof scale, sizeof scale);
    decode_block(codes + whole * kBlock, scale, padded);
    std::memcpy(values + whole * kBlock, padded, rest * sizeof(Value));
  }
}

MOTLEY_CLONES void encode_nearest(const float* values, std::size_t count, std::int8_t* codes) {
  encode_all<false>(values, count, 0, codes);
}
MOTLEY_CLONES void encode_nearest(const std::uint16_t* values, std::size_t count, std::int8_t* codes) {
  encode_all<false>(values, count, 0, codes);
}
MOTLEY_CLONES void encode_stochastic(const float* values, std::size_t count, std::uint64_t seed, std::int8_t* codes) {
  encode_all<true>(values, count, seed, codes);
}
MOTLEY_CLONES void encode_stochastic(const std::uint16_t* values, std::size_t count, std::uint64_t seed,
                                     std::int8_t* codes) {
  encode_all<true>(values, count, seed, codes);
}
MOTLEY_CLONES void decode(const std::int8_t* codes, std::size_t count, float* values) {
  decode_all(codes, count, values);
}
MOTLEY_CLONES void decode(const std::int8_t* codes, std::size_t count, std::uint16_t* values) {
  decode_all(codes, count, values);
}

template <typename Value>
void encode(const Value* values, std::size_t count, Rounding rounding, std::uint64_t seed, std::int8_t* codes) {
  rounding == Rounding::Nearest ? encode_nearest(values, count, codes) : encode_stochastic(values, count, seed, codes);
}

}  // namespace

void encode_on_cpu(const void* values, Element element, std::size_t count, Rounding rounding, std::uint64_t seed,
                   void* codes) {
  auto* const out = static_cast<std::int8_t*>(codes);
  element == Element::Float32 ? encode(static_cast<const float*>(values), count, rounding, seed, out)
                              : encode(static_cast<const std::uint16_t*>(values), count, rounding, seed, out);
}

void decode_on_cpu(const void* codes, std::size_t count, Element element, void* values) {
  const auto* const in = static_cast<const std::int8_t*>(codes);
  element == Element::Float32 ? decode(in, count, static_cast<float*>(values))
                              : decode(in, count, static_cast<std::uint16_t*>(values));
}

}  // namespace motley::kernels

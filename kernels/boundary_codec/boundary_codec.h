#pragma once

#include <cstddef>
#include <cstdint>

#include "motley/kernels/element.h"

namespace motley::kernels {

enum class Rounding {
  Nearest,     ///< ties to even
  Stochastic,  ///< up with the probability that makes the mean exact; the same numbers on every device
};

/// Values that share a scale.
inline constexpr std::size_t kCodecBlock = 64;

/// Bytes of `values` encoded values: a code of one byte each, padded to whole blocks, then a float32 scale a block.
[[nodiscard]] constexpr std::size_t encoded_bytes(std::size_t values) {
  const std::size_t blocks = (values + kCodecBlock - 1) / kCodecBlock;
  return blocks * (kCodecBlock + sizeof(float));
}

// Int8 blocks (the format of Dettmers et al., 2022, "8-bit Optimizers via Block-wise Quantization", with linear codes):
// scale = max|x| / 127, code = round(x / scale), value = code * scale. The error of a value is at most scale / 2 with
// Nearest and below scale with Stochastic, where its mean over seeds is 0, up to float32 rounding. A block that holds
// an infinity or NaN decodes to NaN throughout, so that a fault stays visible; one with no magnitude of 1e-30 or more
// decodes to zeros. O(values), one pass.
//
// What is drawn for a value depends on `seed` and its place alone, so neither on the version nor on the launch. Give
// each tensor another seed (RandomKey::hash).

/// On the host, vectorised. `values`: `count` of `element`, aligned to their size; `codes`: encoded_bytes(count), at
/// any address.
void encode_on_cpu(const void* values, Element element, std::size_t count, Rounding rounding, std::uint64_t seed,
                   void* codes);
/// The inverse; BFloat16 results are rounded to nearest even.
void decode_on_cpu(const void* codes, std::size_t count, Element element, void* values);

/// The plain loops that every other version equals bit for bit.
void encode_reference(const void* values, Element element, std::size_t count, Rounding rounding, std::uint64_t seed,
                      void* codes);
void decode_reference(const void* codes, std::size_t count, Element element, void* values);

}  // namespace motley::kernels

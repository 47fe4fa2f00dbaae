#include "motley/kernels/dropout/dropout.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "motley/kernels/clones.h"
#include "motley/kernels/dropout/format.h"

namespace motley::kernels {
namespace {

static_assert(std::endian::native == std::endian::little, "draws are looked at as 16-bit numbers in memory");

constexpr std::size_t kPiece = 256;

template <typename Value>
MOTLEY_INLINE void drop_as(const Value* values, std::size_t samples, std::size_t width, const DropoutMask& mask,
                           Value* dropped) {
  const float scale = masks::scale(mask);
  const std::uint32_t threshold = mask.threshold;
  for (std::size_t sample = 0; sample < samples; ++sample) {
    const std::uint64_t key = masks::row_key(mask, sample);
    for (std::size_t begin = 0; begin < width; begin += kPiece) {
      // Numbers first, values then: two loops that both become vectors.
      std::uint64_t numbers[kPiece / masks::kTogether];
      for (std::size_t i = 0; i < kPiece / masks::kTogether; ++i) {
        numbers[i] = masks::draws(key, begin + i * masks::kTogether);
      }
      std::uint16_t draws[kPiece];
      std::memcpy(draws, numbers, sizeof draws);
      const std::size_t count = std::min(kPiece, width - begin);
      const Value* const from = values + sample * width + begin;
      Value* const to = dropped + sample * width + begin;
      for (std::size_t i = 0; i < count; ++i) {
        arithmetic::store(to + i, arithmetic::load(from + i) * (draws[i] < threshold ? 0.0F : scale));
      }
    }
  }
}

MOTLEY_CLONES void drop_float32(const float* values, std::size_t samples, std::size_t width, const DropoutMask& mask,
                                float* dropped) {
  drop_as(values, samples, width, mask, dropped);
}

MOTLEY_CLONES void drop_bfloat16(const std::uint16_t* values, std::size_t samples, std::size_t width,
                                 const DropoutMask& mask, std::uint16_t* dropped) {
  drop_as(values, samples, width, mask, dropped);
}

}  // namespace

void dropout_on_cpu(const void* values, Element element, std::size_t samples, std::size_t width,
                    const DropoutMask& mask, void* dropped) {
  element == Element::Float32
      ? drop_float32(static_cast<const float*>(values), samples, width, mask, static_cast<float*>(dropped))
      : drop_bfloat16(static_cast<const std::uint16_t*>(values), samples, width, mask,
                      static_cast<std::uint16_t*>(dropped));
}

}  // namespace motley::kernels

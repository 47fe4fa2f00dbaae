#include "motley/kernels/dropout/format.h"

namespace motley::kernels {
namespace {

template <typename Value>
void drop(const Value* values, std::size_t samples, std::size_t width, const DropoutMask& mask, Value* dropped) {
  for (std::size_t sample = 0; sample < samples; ++sample) {
    for (std::size_t i = 0; i < width; ++i) {
      const std::uint64_t draws = masks::draws(masks::row_key(mask, sample), i / masks::kTogether * masks::kTogether);
      const float factor = masks::factor(draws, i % masks::kTogether, mask, masks::scale(mask));
      const std::size_t at = sample * width + i;
      arithmetic::store(dropped + at, arithmetic::load(values + at) * factor);
    }
  }
}

}  // namespace

void dropout_reference(const void* values, Element element, std::size_t samples, std::size_t width,
                       const DropoutMask& mask, void* dropped) {
  element == Element::Float32
      ? drop(static_cast<const float*>(values), samples, width, mask, static_cast<float*>(dropped))
      : drop(static_cast<const std::uint16_t*>(values), samples, width, mask, static_cast<std::uint16_t*>(dropped));
}

}  // namespace motley::kernels

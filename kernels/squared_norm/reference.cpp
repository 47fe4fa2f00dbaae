#include <cstdint>

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/squared_norm/squared_norm.h"

namespace motley::kernels {

double squared_norm_reference(const void* values, Element element, std::size_t count) {
  double sum = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double value = element == Element::Float32
                             ? static_cast<const float*>(values)[i]
                             : arithmetic::from_bfloat16(static_cast<const std::uint16_t*>(values)[i]);
    sum += value * value;
  }
  return sum;
}

}  // namespace motley::kernels

#include "motley/kernels/squared_norm/squared_norm.h"

#include <cstdint>

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/clones.h"

namespace motley::kernels {
namespace {

constexpr std::size_t kLanes = 8;

template <typename Value>
MOTLEY_INLINE double sum_of_squares(const Value* values, std::size_t count) {
  double lanes[kLanes] = {};
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double value = arithmetic::load(values + i + lane);
      lanes[lane] += value * value;
    }
  }
  double sum = 0.0;
  for (std::size_t i = whole; i < count; ++i) {
    const double value = arithmetic::load(values + i);
    sum += value * value;
  }
  for (const double lane : lanes) {
    sum += lane;
  }
  return sum;
}

MOTLEY_CLONES double of_floats(const float* values, std::size_t count) {
  return sum_of_squares(values, count);
}
MOTLEY_CLONES double of_bfloat16(const std::uint16_t* values, std::size_t count) {
  return sum_of_squares(values, count);
}

}  // namespace

double squared_norm_on_cpu(const void* values, Element element, std::size_t count) {
  return element == Element::Float32 ? of_floats(static_cast<const float*>(values), count)
                                     : of_bfloat16(static_cast<const std::uint16_t*>(values), count);
}

}  // namespace motley::kernels

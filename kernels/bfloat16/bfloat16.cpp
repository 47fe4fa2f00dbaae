#include "motley/kernels/bfloat16/bfloat16.h"

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/clones.h"

namespace motley::kernels {
namespace {

MOTLEY_CLONES void narrow(const float* __restrict values, std::size_t count, std::uint16_t* __restrict bfloat16) {
  for (std::size_t i = 0; i < count; ++i) {
    bfloat16[i] = arithmetic::to_bfloat16(values[i]);
  }
}

MOTLEY_CLONES void widen(const std::uint16_t* __restrict bfloat16, std::size_t count, float* __restrict values) {
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = arithmetic::from_bfloat16(bfloat16[i]);
  }
}

}  // namespace

void narrow_on_cpu(const float* values, std::size_t count, std::uint16_t* bfloat16) {
  narrow(values, count, bfloat16);
}

void widen_on_cpu(const std::uint16_t* bfloat16, std::size_t count, float* values) {
  widen(bfloat16, count, values);
}

}  // namespace motley::kernels

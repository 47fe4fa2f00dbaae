#pragma once

#include <cstddef>
#include <cstdint>

namespace motley::kernels {

// float32 to bfloat16, to nearest with ties to even (NaN stays NaN), and back, exactly: a wire format of half the
// bytes. All versions give the same bits. One pass.

/// On the host, vectorised.
void narrow_on_cpu(const float* values, std::size_t count, std::uint16_t* bfloat16);
void widen_on_cpu(const std::uint16_t* bfloat16, std::size_t count, float* values);

}  // namespace motley::kernels

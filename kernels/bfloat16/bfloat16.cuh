#pragma once

#include "motley/kernels/bfloat16/bfloat16.h"
#include "motley/kernels/space.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The ladder, slowest first.
enum class ConversionVersion {
  Plain,       ///< a thread a value
  Vectorised,  ///< a thread four values: 16 bytes of float32, 8 of bfloat16
};

/// As narrow_on_cpu and widen_on_cpu, with device pointers, on `stream`; the same bits. Return a cudaError_t.
/// Vectorised needs pointers aligned to 16 bytes.
int narrow(ConversionVersion version, const float* values, std::size_t count, std::uint16_t* bfloat16, Stream stream);
int widen(ConversionVersion version, const std::uint16_t* bfloat16, std::size_t count, float* values, Stream stream);

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

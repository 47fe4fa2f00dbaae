#pragma once

#include "motley/kernels/dropout/dropout.h"
#include "motley/kernels/space.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The ladder, slowest first.
enum class DropoutVersion {
  Plain,       ///< a thread a value of a row
  Vectorised,  ///< a thread four values of a row, which share a random number: 16 bytes of float32, 8 of bfloat16
};

/// As dropout_on_cpu, with device pointers, on `stream`; the same bits. Returns a cudaError_t. Vectorised needs
/// pointers aligned to 16 bytes and a width that four divides.
int dropout(DropoutVersion version, const void* values, Element element, std::size_t samples, std::size_t width,
            const DropoutMask& mask, void* dropped, Stream stream);

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

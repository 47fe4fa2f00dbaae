#pragma once

#include "motley/kernels/space.h"
#include "motley/kernels/squared_norm/squared_norm.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The ladder, slowest first.
enum class NormVersion {
  Plain,       ///< a thread a chunk of values, one thread a layer for its chunks
  Vectorised,  ///< a block a chunk, 16 bytes at a time; a block a layer for its chunks
};

/// Values that are summed together first. A layer's chunks begin with the layer.
inline constexpr std::size_t kNormChunk = 4096;

/// Doubles of scratch for `layers` layers of which the largest has `largest` values.
[[nodiscard]] constexpr std::size_t norm_scratch(std::size_t layers, std::size_t largest) {
  return layers * ((largest + kNormChunk - 1) / kNormChunk);
}

/// norms[l] = sum of squares of values begins[l] to begins[l + 1] - 1, for up to 65535 layers, in two launches on
/// `stream`. Device pointers; `values` aligned to 16 bytes and begins to 16 values, as flat buffers are. No atomics:
/// the same bits in every launch, and whatever other layers there are. Returns a cudaError_t.
int squared_norms(NormVersion version, const void* values, Element element, const std::size_t* begins,
                  std::size_t layers, std::size_t largest, double* scratch, double* norms, Stream stream);

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

#pragma once

#include "motley/kernels/boundary_codec/boundary_codec.h"
#include "motley/kernels/space.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The ladder, slowest first.
enum class CodecVersion {
  Plain,       ///< a thread a block of values
  Vectorised,  ///< 16-byte accesses, a block of values by 16 (float32) or 8 (bfloat16) lanes and shuffles
};

/// As encode_on_cpu and decode_on_cpu, with device pointers, on `stream`; the same bits (but for those of NaN). Return
/// a cudaError_t. `values` and `codes` must be aligned to
/// 16 bytes for Vectorised.
int encode(CodecVersion version, const void* values, Element element, std::size_t count, Rounding rounding,
           std::uint64_t seed, void* codes, Stream stream);
int decode(CodecVersion version, const void* codes, std::size_t count, Element element, void* values, Stream stream);

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

#pragma once

#include <cstddef>
#include <cstdint>

#include "motley/kernels/element.h"

namespace motley::kernels {

/// Which values of a matrix with a row a sample are dropped.
struct DropoutMask {
  std::uint64_t key = 0;          ///< RandomKey::hash
  std::int64_t first_sample = 0;  ///< number of row 0
  std::uint32_t threshold = 0;    ///< a value is dropped with probability threshold / 65536; at most 65535
};

// Inverted dropout (Srivastava et al., JMLR 2014): what is kept is multiplied by 65536 / (65536 - threshold) in float32
// and rounded to the element once, what is dropped by 0, so that an infinity or NaN stays visible. Whether value i of a
// sample is dropped depends on `key`, the sample's number and i alone: the same in every version, launch and split of a
// micro-batch. Nothing is kept; the gradient is what the same call makes of the result's gradient. O(samples * width),
// one pass; `dropped` may be `values`.

/// On the host, vectorised. `values` and `dropped`: [samples, width] of `element`, aligned to their size.
void dropout_on_cpu(const void* values, Element element, std::size_t samples, std::size_t width,
                    const DropoutMask& mask, void* dropped);

/// The plain loop that every other version equals bit for bit.
void dropout_reference(const void* values, Element element, std::size_t samples, std::size_t width,
                       const DropoutMask& mask, void* dropped);

}  // namespace motley::kernels

#pragma once

#include <cstddef>

#include "motley/kernels/element.h"

namespace motley::kernels {

// Sums of squares of the layers of a flat gradient buffer, in double: a square of two float32 is exact there, so that
// only the order of additions counts, and it depends on nothing but the layer's own length.

/// Of `count` values on the host, vectorised: value i goes to lane i % 8 of eight sums, and those are added in order.
[[nodiscard]] double squared_norm_on_cpu(const void* values, Element element, std::size_t count);

/// The plain loop that the others are compared with: they differ by rounding in double.
[[nodiscard]] double squared_norm_reference(const void* values, Element element, std::size_t count);

}  // namespace motley::kernels

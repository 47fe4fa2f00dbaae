#pragma once

#include <c10/core/ScalarType.h>

#include "motley/base/tensor_spec.h"

namespace motley {

/// LibTorch's name of one of our types.
[[nodiscard]] c10::ScalarType scalar_type(DType dtype);

/// The other way round. Throws InputError for a type that no boundary can carry.
[[nodiscard]] DType dtype_of(c10::ScalarType type);

}  // namespace motley

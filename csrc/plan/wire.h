#pragma once

#include <cstdint>
#include <string>

#include "motley/base/tensor_spec.h"

namespace motley {

enum class Pass : std::uint8_t { Forward, Backward };

/// Bytes of `boundary` for `samples` samples on an edge of format `wire`: "float32": as they are; "bfloat16": two bytes
/// a float32 value; "int8": every float32 tensor as blocks of 64 codes of a byte with a float32 scale each, the last
/// block padded (kernels/boundary_codec). Tensors of other types are sent as they are. Backward, only tensors that have
/// a gradient.
[[nodiscard]] Bytes wire_bytes(const Boundary& boundary, std::int64_t samples, const std::string& wire, Pass pass);

}  // namespace motley

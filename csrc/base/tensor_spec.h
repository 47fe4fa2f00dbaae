#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "motley/base/units.h"

namespace motley {

enum class DType : std::uint8_t { Float64, Float32, BFloat16, Float16, Int64, Int32, UInt8, Bool, UInt16 };

/// "float32", "bfloat16", ...: safetensors' types by PyTorch's names.
[[nodiscard]] std::string_view name_of(DType dtype);
[[nodiscard]] std::optional<DType> dtype_by_name(std::string_view name);
[[nodiscard]] Bytes size_of(DType dtype);

/// One tensor that crosses a stage boundary, for one sample: the full tensor has shape [samples, shape...].
struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  DType dtype = DType::Float32;
  bool has_gradient = true;

  /// Bytes of this tensor for `samples` samples.
  [[nodiscard]] Bytes bytes(std::int64_t samples) const;

  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

/// All that crosses one stage boundary, in order.
using Boundary = std::vector<TensorSpec>;

/// Bytes that cross `boundary` forward for `samples` samples.
[[nodiscard]] Bytes forward_bytes(const Boundary& boundary, std::int64_t samples);

/// Bytes that come back: only tensors that have a gradient.
[[nodiscard]] Bytes backward_bytes(const Boundary& boundary, std::int64_t samples);

/// "hidden float32[512], mask bool[128] without gradient", for messages.
[[nodiscard]] std::string to_string(const Boundary& boundary);

}  // namespace motley

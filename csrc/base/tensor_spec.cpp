#include "motley/base/tensor_spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <utility>

namespace motley {
namespace {

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  std::int64_t bytes;
};

constexpr std::array<DTypeInfo, 9> kDTypes{{{DType::Float64, "float64", 8},
                                            {DType::Float32, "float32", 4},
                                            {DType::BFloat16, "bfloat16", 2},
                                            {DType::Float16, "float16", 2},
                                            {DType::Int64, "int64", 8},
                                            {DType::Int32, "int32", 4},
                                            {DType::UInt8, "uint8", 1},
                                            {DType::Bool, "bool", 1},
                                            {DType::UInt16, "uint16", 2}}};

const DTypeInfo& info(DType dtype) {
  return kDTypes.at(static_cast<std::size_t>(dtype));
}

}  // namespace

std::string_view name_of(DType dtype) {
  return info(dtype).name;
}

std::optional<DType> dtype_by_name(std::string_view name) {
  for (const DTypeInfo& candidate : kDTypes) {
    if (candidate.name == name) {
      return candidate.dtype;
    }
  }
  return std::nullopt;
}

Bytes size_of(DType dtype) {
  return {info(dtype).bytes};
}

Bytes TensorSpec::bytes(std::int64_t samples) const {
  Bytes total = size_of(dtype) * samples;
  for (const std::int64_t extent : shape) {
    total = total * extent;
  }
  return total;
}

Bytes forward_bytes(const Boundary& boundary, std::int64_t samples) {
  Bytes total;
  for (const TensorSpec& tensor : boundary) {
    total += tensor.bytes(samples);
  }
  return total;
}

Bytes backward_bytes(const Boundary& boundary, std::int64_t samples) {
  Bytes total;
  for (const TensorSpec& tensor : boundary) {
    if (tensor.has_gradient) {
      total += tensor.bytes(samples);
    }
  }
  return total;
}

std::string to_string(const Boundary& boundary) {
  if (boundary.empty()) {
    return "nothing";
  }
  std::vector<std::string> parts;
  parts.reserve(boundary.size());
  for (const TensorSpec& tensor : boundary) {
    parts.push_back(fmt::format("{} {}[{}]{}", tensor.name, name_of(tensor.dtype), fmt::join(tensor.shape, ", "),
                                tensor.has_gradient ? "" : " without gradient"));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace motley

#include "motley/workloads/tensor_types.h"

#include <array>
#include <utility>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr std::array<std::pair<DType, c10::ScalarType>, 9> kTypes{{{DType::Float64, c10::ScalarType::Double},
                                                                   {DType::Float32, c10::ScalarType::Float},
                                                                   {DType::BFloat16, c10::ScalarType::BFloat16},
                                                                   {DType::Float16, c10::ScalarType::Half},
                                                                   {DType::Int64, c10::ScalarType::Long},
                                                                   {DType::Int32, c10::ScalarType::Int},
                                                                   {DType::UInt8, c10::ScalarType::Byte},
                                                                   {DType::Bool, c10::ScalarType::Bool},
                                                                   {DType::UInt16, c10::ScalarType::UInt16}}};

}  // namespace

c10::ScalarType scalar_type(DType dtype) {
  for (const auto& [ours, theirs] : kTypes) {
    if (ours == dtype) {
      return theirs;
    }
  }
  MOTLEY_CHECK(false, "type {} has no counterpart in LibTorch", static_cast<int>(dtype));
  return c10::ScalarType::Undefined;
}

DType dtype_of(c10::ScalarType type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == type) {
      return ours;
    }
  }
  throw InputError::of("tensor type {}: no stage boundary carries it", c10::toString(type));
}

}  // namespace motley

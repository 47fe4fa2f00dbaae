#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace motley {

/// FNV-1a (Fowler, Noll, Vo) of a contiguous tensor's bytes.
inline std::uint64_t digest(const at::Tensor& tensor) {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto* bytes = static_cast<const unsigned char*>(tensor.data_ptr());
  for (std::size_t i = 0; i < tensor.nbytes(); ++i) {
    hash = (hash ^ bytes[i]) * 0x100000001b3;
  }
  return hash;
}

}  // namespace motley

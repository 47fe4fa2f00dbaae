#pragma once

#include <cstddef>
#include <span>

#include "motley/cuda/device.h"

namespace motley {

/// Bytes of the device, or of the host where its copies need not stop at (pinned). For what LibTorch does not hold:
/// staging and probes.
class CudaMemory {
 public:
  enum class Kind { Device, Pinned };

  /// Throws CudaError that says what was asked for and what is free.
  CudaMemory(const CudaDevice& device, Kind kind, std::size_t bytes);
  ~CudaMemory();
  CudaMemory(CudaMemory&& other) noexcept;
  CudaMemory& operator=(CudaMemory&& other) noexcept;

  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  void release() noexcept;

  const CudaDevice* device_;
  Kind kind_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace motley

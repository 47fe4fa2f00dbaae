#include "motley/cuda/memory.h"

#include <utility>

namespace motley {

CudaMemory::CudaMemory(const CudaDevice& device, Kind kind, std::size_t bytes)
    : device_(&device), kind_(kind), size_(bytes) {
  if (bytes == 0) return;
  const CudaApi& api = device.use();
  void* data = nullptr;
  const int error = kind == Kind::Device ? api.cudaMalloc(&data, bytes) : api.cudaHostAlloc(&data, bytes, 0);
  if (error == kCudaOutOfMemory) {
    (void)api.cudaGetLastError();
    const std::string place = kind == Kind::Device ? fmt::format("cuda:{}", device.index()) : "pinned host memory";
    throw CudaError(kind == Kind::Device
                        ? fmt::format("out of memory on {}: asked for {} bytes, {} of {} are free", place, bytes,
                                      device.free_memory().value, device.properties().memory.value)
                        : fmt::format("out of {}: asked for {} bytes", place, bytes));
  }
  device.check(error, kind == Kind::Device ? "cudaMalloc" : "cudaHostAlloc");
  data_ = static_cast<std::byte*>(data);
}

CudaMemory::~CudaMemory() {
  release();
}

CudaMemory::CudaMemory(CudaMemory&& other) noexcept
    : device_(other.device_),
      kind_(other.kind_),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

CudaMemory& CudaMemory::operator=(CudaMemory&& other) noexcept {
  if (this != &other) {
    release();
    device_ = other.device_;
    kind_ = other.kind_;
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void CudaMemory::release() noexcept {
  if (data_ == nullptr) return;
  const CudaApi& api = device_->api();
  (void)(kind_ == Kind::Device ? api.cudaFree(data_) : api.cudaFreeHost(data_));
  data_ = nullptr;
}

}  // namespace motley

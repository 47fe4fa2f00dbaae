#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "motley/base/error.h"
#include "motley/base/units.h"
#include "motley/cuda/api.h"

namespace motley {

/// A call of the CUDA runtime that failed. `what()` names the call, the device, CUDA's words and its number.
class CudaError : public Fault {
 public:
  using Fault::Fault;
};

/// What is known of a device without using it.
struct CudaProperties {
  std::string name;        ///< "NVIDIA H100 80GB HBM3"
  std::string uuid;        ///< 32 hexadecimal digits, the same whatever CUDA_VISIBLE_DEVICES says
  int capability = 0;      ///< compute capability x 10: 90
  int driver_version = 0;  ///< CUDA's, 13000 for 13.0
  int runtime_version = 0;
  Bytes memory;

  /// "NVIDIA H100 80GB HBM3 (sm_90)"
  [[nodiscard]] std::string text() const;
};

/// Whether a type of device is CudaProperties::text() of some GPU.
[[nodiscard]] bool is_cuda_type(std::string_view type);

/// Devices that this process may use (CUDA_VISIBLE_DEVICES has its say). Throws Fault in one line where there are none,
/// or no driver: what to do about it is part of it.
[[nodiscard]] int count_devices(const CudaApi& api);

/// One device and the table of calls. Streams, events and memory belong to one and must not outlive it. Usable from any
/// thread; each call makes the device the calling thread's first.
class CudaDevice {
 public:
  /// Throws InputError when there is no such device, CudaError when it cannot be used.
  CudaDevice(CudaApi api, int index);
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] bool is_fake() const { return api_.is_fake; }
  [[nodiscard]] const CudaProperties& properties() const { return properties_; }
  [[nodiscard]] Bytes free_memory() const;

  /// The table, with this device the calling thread's.
  const CudaApi& use() const;
  [[nodiscard]] const CudaApi& api() const { return api_; }

  /// Throws CudaError unless `error` is success.
  void check(int error, std::string_view call) const;

 private:
  CudaApi api_;
  int index_;
  CudaProperties properties_;
};

}  // namespace motley

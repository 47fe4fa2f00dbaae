#include "motley/cuda/device.h"

#include <array>
#include <cstring>

namespace motley {
namespace {

// cudaDeviceProp is larger in every version. These two have stood at its head since CUDA 10.
struct PropertiesHead {
  std::array<char, 256> name;
  std::array<unsigned char, 16> uuid;
};
constexpr std::size_t kPropertiesRoom = 16384;

// cudaDeviceAttr
constexpr int kCapabilityMajor = 75;
constexpr int kCapabilityMinor = 76;

CudaError failure(const CudaApi& api, int error, std::string_view call, const std::string& where) {
  return CudaError(fmt::format("{}: {}: {} (CUDA error {})", where, call, api.cudaGetErrorString(error), error));
}

void check_call(const CudaApi& api, int error, std::string_view call, const std::string& where) {
  if (error != kCudaSuccess) throw failure(api, error, call, where);
}

}  // namespace

std::string CudaProperties::text() const {
  return fmt::format("{} (sm_{})", name, capability);
}

bool is_cuda_type(std::string_view type) {
  return type.find("(sm_") != std::string_view::npos;
}

int count_devices(const CudaApi& api) {
  int count = 0;
  const int error = api.cudaGetDeviceCount(&count);
  if (error == kCudaDriverTooOld) {
    int driver = 0;
    (void)api.cudaDriverGetVersion(&driver);
    if (driver == 0) {
      throw Fault("no GPU: this machine has no NVIDIA driver");
    }
    throw Fault::of("no GPU: the NVIDIA driver knows CUDA {}.{}, {} needs a newer one", driver / 1000,
                    driver % 1000 / 10, api.library);
  }
  if (error == kCudaNoDevice || (error == kCudaSuccess && count == 0)) {
    throw Fault("no GPU: the NVIDIA driver shows this process no device (CUDA_VISIBLE_DEVICES may hide them)");
  }
  check_call(api, error, "cudaGetDeviceCount", "cuda");
  return count;
}

CudaDevice::CudaDevice(CudaApi api, int index) : api_(std::move(api)), index_(index) {
  const int count = count_devices(api_);
  if (index < 0 || index >= count) {
    throw InputError::of("CUDA device {}: found devices 0 to {}", index, count - 1);
  }
  use();
  alignas(16) std::array<char, kPropertiesRoom> room{};
  check(api_.cudaGetDeviceProperties(room.data(), index), "cudaGetDeviceProperties");
  PropertiesHead head{};
  std::memcpy(&head, room.data(), sizeof head);
  properties_.name.assign(head.name.data(), strnlen(head.name.data(), head.name.size()));
  for (const unsigned char byte : head.uuid) properties_.uuid += fmt::format("{:02x}", byte);
  int major = 0;
  int minor = 0;
  check(api_.cudaDeviceGetAttribute(&major, kCapabilityMajor, index), "cudaDeviceGetAttribute");
  check(api_.cudaDeviceGetAttribute(&minor, kCapabilityMinor, index), "cudaDeviceGetAttribute");
  properties_.capability = 10 * major + minor;
  check(api_.cudaDriverGetVersion(&properties_.driver_version), "cudaDriverGetVersion");
  check(api_.cudaRuntimeGetVersion(&properties_.runtime_version), "cudaRuntimeGetVersion");
  std::size_t free = 0;
  std::size_t total = 0;
  check(api_.cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  properties_.memory = Bytes{static_cast<std::int64_t>(total)};
}

Bytes CudaDevice::free_memory() const {
  std::size_t free = 0;
  std::size_t total = 0;
  check(use().cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return Bytes{static_cast<std::int64_t>(free)};
}

const CudaApi& CudaDevice::use() const {
  // The runtime keeps it by thread; setting what is set costs some 20 ns.
  check(api_.cudaSetDevice(index_), "cudaSetDevice");
  return api_;
}

void CudaDevice::check(int error, std::string_view call) const {
  if (error == kCudaSuccess) return;
  (void)api_.cudaGetLastError();  // else the next call of LibTorch would report it as its own
  throw failure(api_, error, call, fmt::format("cuda:{}", index_));
}

}  // namespace motley

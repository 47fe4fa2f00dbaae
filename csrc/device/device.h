#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "motley/base/units.h"
#include "motley/cuda/clock.h"
#include "motley/cuda/stream.h"
#include "motley/device/host_memory.h"
#include "motley/kernels/device_kernels.h"

namespace motley {

/// Where a rank computes: the host, or one CUDA device. What is computed is in order; on a CUDA device it goes on while
/// the host does, so that times and results are there only later (Fabric::settle in an iteration, finish() elsewhere).
class ComputeDevice {
 public:
  /// A point in the order of what is computed. Valid until forget_stamps().
  using Stamp = std::int64_t;

  ComputeDevice() = default;
  virtual ~ComputeDevice() = default;
  ComputeDevice(const ComputeDevice&) = delete;
  ComputeDevice& operator=(const ComputeDevice&) = delete;

  /// "cpu", or a GPU's name and architecture: a device type of profiles.
  [[nodiscard]] virtual std::string type() const = 0;
  /// Where tensors live.
  [[nodiscard]] virtual c10::Device tensors() const = 0;
  /// Makes LibTorch compute here when this thread calls it, backward passes in this thread too.
  virtual void bind() = 0;

  [[nodiscard]] virtual Stamp stamp() = 0;
  /// On the host's steady clock, of a stamp that is passed: everything computed before it is done.
  [[nodiscard]] virtual Seconds time_of(Stamp stamp) const = 0;
  /// How many stamps since the last forget_stamps() are passed.
  [[nodiscard]] virtual std::int64_t passed() = 0;
  virtual void forget_stamps() = 0;
  /// Returns when all is done: not for use within an iteration.
  virtual void finish() = 0;

  /// Null on the host.
  [[nodiscard]] virtual Stream* compute() { return nullptr; }
  [[nodiscard]] virtual CudaClock* clock() { return nullptr; }
  /// For kernels in the order of what is computed. Empty on the host, and where the device has none of ours.
  [[nodiscard]] virtual kernels::KernelQueue kernels() { return {}; }

  struct Memory {
    Bytes live;
    Bytes peak;  ///< since the last reset_peak()
  };
  /// What tensors take here.
  [[nodiscard]] virtual Memory memory() const = 0;
  /// What LibTorch's libraries hold for themselves, of what tensors may take. Nothing on the host.
  [[nodiscard]] virtual Bytes workspaces() const { return {}; }
  virtual void reset_peak() = 0;
};

/// The host. `memory` is its allocator where one is installed; else nothing is counted.
[[nodiscard]] std::unique_ptr<ComputeDevice> host_device(std::optional<HostMemory> memory = std::nullopt);

/// Loads LibTorch's CUDA part, to be called before LibTorch is used for anything. Throws Fault in one line.
void load_torch_cuda();

struct CudaOptions {
  Bytes cap;                                        ///< what tensors may take
  std::optional<HostMemory> memory = std::nullopt;  ///< of a fake, whose tensors are the host's: counts them
  const kernels::DeviceKernels* kernels = nullptr;  ///< what it launches; they outlive it; null: none of ours
  /// LibTorch, in this whole process, uses what gives the same bits each time, and throws where a layer has no such.
  bool deterministic = true;
};

/// Throws Fault as load_torch_cuda().
[[nodiscard]] std::unique_ptr<ComputeDevice> cuda_device(const CudaDevice& device, const CudaOptions& options);

}  // namespace motley

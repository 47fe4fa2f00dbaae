#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/comm/nccl/api.h"
#include "motley/config/config.h"
#include "motley/cuda/device.h"
#include "motley/device/device.h"
#include "motley/kernels/device_kernels.h"
#include "motley/plan/plan.h"
#include "motley/plan/profile.h"
#include "motley/profiler/links.h"
#include "motley/runtime/executor.h"

namespace motley {

/// What a rank finds out about CUDA before it knows the others: the libraries, and how many devices it may use.
struct GpuSupport {
  std::optional<CudaApi> cuda;  ///< with at least one device
  int devices = 0;
  std::string no_cuda;  ///< why there is none; empty where nobody asked
  std::optional<NcclApi> nccl;
  std::string no_nccl;  ///< why there is none
  std::optional<kernels::DeviceKernels> kernels;
  std::string no_kernels;  ///< why there are none
};

/// What [devices] device asks for: "cpu" looks for nothing, "cuda" throws Fault in one line where there is no GPU,
/// "auto" takes what there is. MOTLEY_CUDA_LIBRARY, MOTLEY_NCCL_LIBRARY and MOTLEY_KERNELS_LIBRARY name other libraries
/// than the installed ones; a fake of CUDA has kernels of its own.
[[nodiscard]] GpuSupport find_gpus(const Config& config);

/// What a rank tells the others of itself.
struct RankFacts {
  int rank = 0;
  std::string host = {};
  std::string motley = {};  ///< version
  std::string device = {};  ///< type, "cpu" without a GPU
  std::string gpu = {};     ///< UUID; empty without one
  int capability = 0;
  int driver = 0;  ///< CUDA's versions
  int runtime = 0;
  int nccl = 0;              ///< version; 0: none
  std::string no_cuda = {};  ///< why there is no GPU, where one was looked for
  std::string no_nccl = {};
  std::string no_kernels = {};  ///< why the GPU runs LibTorch's operators instead
};

/// In one line: what it is, the versions, and what it lacks and why.
[[nodiscard]] std::string in_words(const RankFacts& facts);

/// Throws InputError that names the rank which cannot take part: another version of Motley than rank 0, a GPU older
/// than the kernels are built for, or a driver older than the CUDA runtime.
void expect_compatible(const std::vector<RankFacts>& ranks);

/// Versions that differ from those of the first rank with a GPU, a line each: what that rank has and what follows.
[[nodiscard]] std::vector<std::string> differences(const std::vector<RankFacts>& ranks);

/// "" when NCCL can connect the two ranks, else why not.
[[nodiscard]] std::string no_nccl_between(const RankFacts& a, const RankFacts& b);

/// How an edge between two ranks, or a group, crosses: `wanted` is [comm] gpu_transport, "auto" (NCCL where it can),
/// "nccl" or "host". Throws InputError that names the ranks where NCCL is wanted and cannot.
[[nodiscard]] std::string transport_of(const std::vector<RankFacts>& facts, const std::vector<int>& ranks,
                                       const std::string& wanted);

/// The device that a rank computes on, and what the ranks know of each other's.
class RankDevice {
 public:
  /// Collective: every rank takes the GPU of its number on its host (rank l of a host with n of them: l mod n), tells
  /// the others and checks them. Throws InputError alike on every rank.
  RankDevice(GpuSupport support, const Config& config, HostMemory memory, Communicator& communicator);

  [[nodiscard]] ComputeDevice& device() const { return *device_; }
  /// What tensors may take: [devices] memory_mb, or less where the GPU has less.
  [[nodiscard]] Bytes memory(const Config& config) const;
  [[nodiscard]] const std::vector<RankFacts>& facts() const { return facts_; }
  /// The rank's own type of device; its speed where that is emulated.
  [[nodiscard]] std::string type() const { return facts_.at(static_cast<std::size_t>(rank_)).device; }

  /// Tells an executor of it. A stage's `transport` in the plan comes before what `profile` (null: not known) found
  /// faster, and that before [comm] gpu_transport, unless that is more than "auto". Throws InputError where the plan
  /// asks for what cannot be, naming `source` and the field.
  void equip(ExecutorOptions& options, const Plan& plan, const Config& config, const Profile* profile,
             const std::string& source) const;

  /// Tells the profiler which transports to try between ranks: those that [comm] gpu_transport leaves and that can be.
  [[nodiscard]] LinkOptions links(const Config& config) const;

 private:
  int rank_ = 0;
  std::optional<NcclApi> nccl_;
  std::optional<kernels::DeviceKernels> kernels_;
  std::unique_ptr<CudaDevice> cuda_;
  std::unique_ptr<ComputeDevice> device_;
  std::vector<RankFacts> facts_;
};

}  // namespace motley

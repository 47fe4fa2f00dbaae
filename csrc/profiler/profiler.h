#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/plan/profile.h"
#include "motley/profiler/links.h"
#include "motley/stage/optimizer.h"
#include "motley/workloads/workload.h"

namespace motley {

struct ProfilerOptions {
  std::vector<std::int64_t> micro_batch_sizes;
  std::int64_t repeats = 7;   ///< at least so many passes behind every median
  double noise_limit = 0.15;  ///< worst spread of a rank's whole pass that is still trusted
  std::string device_type;    ///< of this rank, e.g. "AMD EPYC@0.4"
  Bytes memory;               ///< this rank's limit
  std::uint64_t seed = 1;
  bool emulated = false;
  OptimizerOptions optimizer;
  LinkOptions links = {};  ///< how ranks with GPUs exchange
};

/// Measures the model on every distinct device, alone and with all ranks busy, and every directed link. Collective over
/// the communicator's world; the profile is complete on rank 0 and empty elsewhere. A rank whose passes spread by more
/// than noise_limit is measured once more, for three times as long; what is still noisy then is told in cluster.note.
/// `progress` is told of every phase, on every rank.
[[nodiscard]] Profile measure(Communicator& communicator, const Workload& workload, ComputeDevice& device, Pacer pacer,
                              const ProfilerOptions& options, const std::function<void(const std::string&)>& progress);

}  // namespace motley

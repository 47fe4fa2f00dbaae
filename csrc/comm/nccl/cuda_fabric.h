#pragma once

#include <memory>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/comm/fabric.h"
#include "motley/comm/nccl/api.h"
#include "motley/cuda/clock.h"
#include "motley/cuda/stream.h"

namespace motley {

/// What a fabric of a CUDA device is made of; all of it outlives the fabric.
struct CudaFabricParts {
  Communicator& host;
  Stream& compute;                ///< of the device, in whose order the rank computes
  CudaClock& clock;               ///< wound by settle()
  const NcclApi* nccl = nullptr;  ///< null: no edge or group may use it
};

/// A group of ranks and how they sum: "nccl" or "host".
struct GroupUse {
  std::vector<int> ranks;  ///< ascending
  std::string transport = "host";
};

/// Between devices: edges of transport "nccl" from memory to memory, those of transport "host" through pinned memory
/// and the communicator. Collective over the communicator's world, with the same `edges` and `groups` on every rank;
/// edges are connected in their ascending order, then groups in theirs, so that ranks meet. A thread looks after NCCL's
/// errors and, when the run fails, lets go of every communicator, which ends what waits on the device.
///
/// `edges` are all that are used; a rank without a CUDA device takes its part through host_fabric.
[[nodiscard]] std::unique_ptr<Fabric> cuda_fabric(const CudaFabricParts& parts, std::vector<EdgeUse> edges,
                                                  const std::vector<GroupUse>& groups);

}  // namespace motley

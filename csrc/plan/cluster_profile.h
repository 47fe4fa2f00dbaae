#pragma once

#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/plan/transfer_curve.h"

namespace motley {

/// One rank's device.
struct Device {
  std::string name;  ///< unique, e.g. "rank0"
  std::string host;
  std::string type;  ///< key into ModelProfile::devices
  Bytes memory;      ///< what a rank's tensors may use: the limit less `libraries`
  double usd_per_hour = 0.0;
  Bytes libraries = {};  ///< on a GPU: held for NCCL's edges of a stage and a group, and as workspaces of cuBLAS
};

/// What the devices of a host share. A rate of 0: not known, or never the limit.
struct Host {
  std::string name;  ///< as in Device::host
  std::string zone;
  BytesPerSecond send;     ///< of all messages together that leave for other hosts
  BytesPerSecond receive;  ///< of all that arrive from other hosts
};

/// Time of one sum of float32 gradients over a group of devices, by the bytes each of them has.
struct AllReduce {
  std::vector<int> devices;  ///< ascending, at least two
  TransferCurve time;
};

/// Time of a message between two GPUs over one of several transports that connect them: "nccl", or the host's "tcp" or
/// "mpi" through pinned memory.
struct MeasuredTransport {
  int from = 0;
  int to = 0;
  std::string transport;
  TransferCurve time;
};

/// Devices and the directed links between them. links[i][j] carries from i to j; the diagonal is unused.
struct ClusterProfile {
  std::vector<Device> devices;
  std::vector<Host> hosts;  ///< of those of which more is known than which devices they have; may be empty
  std::vector<std::vector<TransferCurve>> links;  ///< a message that has the link for itself
  std::vector<MeasuredTransport> transports;      ///< where there is a choice; links has the faster (transports.h)
  std::vector<AllReduce> all_reduce;              ///< of those groups that were measured; may be empty
  Seconds action_overhead;                        ///< engine time per action, beside the layers' own
  Seconds norm_exchange;                          ///< one all-gather of clip norms over all ranks
  bool emulated = false;                          ///< speeds or rates were kept by pacing, so every output says so
  std::string note;                               ///< what a reader must know, e.g. "too noisy: rank 2 spread 14 %"

  [[nodiscard]] int size() const { return static_cast<int>(devices.size()); }
};

}  // namespace motley

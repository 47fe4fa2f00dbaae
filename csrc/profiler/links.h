#pragma once

#include <functional>
#include <string>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/comm/nccl/api.h"
#include "motley/device/device.h"
#include "motley/plan/cluster_profile.h"

namespace motley {

/// Between whose memory messages are timed, and by which ways: "nccl", or "host" for the communicator's own transport
/// (from and to a GPU through pinned memory).
struct LinkOptions {
  ComputeDevice* device = nullptr;  ///< this rank's; null: the host
  const NcclApi* nccl = nullptr;
  std::string host_transport = "tcp";  ///< what profiles call "host"
  /// The ways of an edge between two ranks, and how a group sums: the same answers on every rank. Unset: "host".
  std::function<std::vector<std::string>(int a, int b)> edge_ways = {};
  std::function<std::string(const std::vector<int>& ranks)> group_way = {};
};

struct MeasuredLinks {
  std::vector<std::vector<TransferCurve>> links;  ///< the faster way's, the same both ways
  std::vector<MeasuredTransport> transports;      ///< of those pairs that have several ways
  /// By rank: what NCCL takes of its device, beside LibTorch's tensors, for the edges of a stage: one each way to at
  /// most two neighbours.
  std::vector<Bytes> connections;
};

/// Every directed link over message sizes, one pair and one way at a time so that they do not disturb each other.
/// Collective. The time of a message is that from its SEND to its arrival: a round trip with a one-byte answer, less
/// half of the round trip of one byte each way. Medians. Complete on every rank.
[[nodiscard]] MeasuredLinks measure_links(Communicator& communicator, const LinkOptions& options, int repeats);

struct MeasuredGroups {
  std::vector<AllReduce> all_reduce;
  std::vector<Bytes> connections;  ///< by rank: the most that NCCL takes of its device for one of its groups
};

/// Sums over the groups of `groups` (world ranks, ascending), one group at a time, over the bytes a member has.
/// Collective over the world. Medians, the slowest member's. Complete on every rank.
[[nodiscard]] MeasuredGroups measure_groups(Communicator& communicator, const LinkOptions& options,
                                            const std::vector<std::vector<int>>& groups, int repeats);

/// Median time of the all-gather that carries clip norms (`values` doubles a rank). Collective.
[[nodiscard]] Seconds measure_norm_exchange(Communicator& communicator, std::size_t values, int repeats);

}  // namespace motley

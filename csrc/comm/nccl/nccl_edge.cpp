#include "motley/comm/nccl/nccl_edge.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "motley/base/error.h"
#include "motley/cuda/memory.h"

namespace motley {
namespace {

/// The first rank's new id, on every rank. `ranks` ascending.
NcclUniqueId share_id(const NcclSite& site, const std::vector<int>& ranks, const std::string& name) {
  Communicator& host = site.host;
  NcclUniqueId id;
  if (host.rank() != ranks.front()) {
    host.from(ranks.front()).receive(std::as_writable_bytes(std::span(id.bytes)), name).wait();
    return id;
  }
  id = NcclCommunicator::new_id(site);
  for (const int other : ranks) {
    if (other != host.rank()) host.to(other).send(std::as_bytes(std::span(id.bytes)), name).wait();
  }
  return id;
}

std::string edge_name(int from, int to) {
  return fmt::format("edge from rank {} to rank {}", from, to);
}

/// Number of `rank` among `ranks`.
int index_of(const std::vector<int>& ranks, int rank) {
  return static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

}  // namespace

NcclEdge::NcclEdge(const NcclSite& site, DeviceOrder& order, int peer, bool sends)
    : order_(order),
      peer_(peer),
      sends_(sends),
      stream_(site.device, /*urgent=*/true),
      communicator_(site, sends ? edge_name(site.host.rank(), peer) : edge_name(peer, site.host.rank()),
                    share_id(site, {std::min(peer, site.host.rank()), std::max(peer, site.host.rank())}, "NCCL id"), 2,
                    site.host.rank() < peer ? 0 : 1) {}

std::shared_ptr<DeviceTransfer> NcclEdge::post(std::string_view label, std::span<const NcclCommunicator::Call> calls) {
  const std::shared_ptr<DeviceTransfer> transfer = pool_.next([&] { return std::make_shared<DeviceTransfer>(order_); });
  transfer->begin(label, peer_, sends_, stream_);
  communicator_.group(label, calls);
  transfer->end(stream_);
  return transfer;
}

void NcclEdge::send(std::span<const std::span<const std::byte>> parts, std::string_view label,
                    std::vector<Work>& works) {
  MOTLEY_CHECK(sends_, "{}: send on the edge from rank {}", label, peer_);
  calls_.clear();
  const int there = order_.host.rank() < peer_ ? 1 : 0;
  for (const std::span<const std::byte> part : parts) {
    if (part.empty()) continue;  // nothing to order: NCCL would start a kernel for it
    calls_.emplace_back([part, there, this](const NcclApi& api, NcclComm comm) {
      return api.ncclSend(part.data(), part.size(), kNcclBytes, there, comm, stream_.handle());
    });
  }
  if (!calls_.empty()) works.emplace_back(post(label, calls_));
}

void NcclEdge::receive(std::span<const std::span<std::byte>> parts, std::string_view label, std::vector<Work>& works) {
  MOTLEY_CHECK(!sends_, "{}: receive on the edge to rank {}", label, peer_);
  calls_.clear();
  const int there = order_.host.rank() < peer_ ? 1 : 0;
  for (const std::span<std::byte> part : parts) {
    if (part.empty()) continue;
    calls_.emplace_back([part, there, this](const NcclApi& api, NcclComm comm) {
      return api.ncclRecv(part.data(), part.size(), kNcclBytes, there, comm, stream_.handle());
    });
  }
  if (!calls_.empty()) works.emplace_back(post(label, calls_));
}

void NcclEdge::try_out(const WaitUntil& wait_until) {
  constexpr std::array<unsigned char, 4> kPattern{'m', 'o', 't', 'l'};
  const CudaDevice& device = stream_.device();
  const CudaMemory pinned(device, CudaMemory::Kind::Pinned, kPattern.size());
  const CudaMemory probe(device, CudaMemory::Kind::Device, kPattern.size());
  if (sends_) std::memcpy(pinned.bytes().data(), kPattern.data(), kPattern.size());
  std::vector<Work> works;
  if (sends_) {
    order_.compute.copy(probe.bytes().data(), pinned.bytes().data(), kPattern.size());
    const std::array<std::span<const std::byte>, 1> parts{probe.bytes()};
    send(parts, "first transfer", works);
  } else {
    const std::array<std::span<std::byte>, 1> parts{probe.bytes()};
    receive(parts, "first transfer", works);
    works.front().wait();
    order_.compute.copy(pinned.bytes().data(), probe.bytes().data(), kPattern.size());
  }
  wait_until([&] { return works.front().done(); }, communicator_.name() + ", first transfer", peer_);
  order_.compute.finish();
  if (!sends_ && std::memcmp(pinned.bytes().data(), kPattern.data(), kPattern.size()) != 0) {
    order_.host.abort(
        fmt::format("NCCL, {}: the first transfer brought other bytes than were sent", communicator_.name()));
    throw CommError(order_.host.failure());
  }
}

NcclReduction::NcclReduction(const NcclSite& site, DeviceOrder& order, const std::vector<int>& ranks)
    : order_(order),
      stream_(site.device, /*urgent=*/true),
      communicator_(site, fmt::format("group of {} ranks from rank {}", ranks.size(), ranks.front()),
                    share_id(site, ranks, "NCCL id of a group"), static_cast<int>(ranks.size()),
                    index_of(ranks, site.host.rank())) {}

Work NcclReduction::sum(std::span<float> values, std::string_view label) {
  if (values.empty()) return {};
  const std::shared_ptr<DeviceTransfer> transfer = pool_.next([&] { return std::make_shared<DeviceTransfer>(order_); });
  transfer->begin(label, -1, false, stream_);
  const std::array<NcclCommunicator::Call, 1> calls{[&](const NcclApi& api, NcclComm comm) {
    return api.ncclAllReduce(values.data(), values.data(), values.size(), kNcclFloat, kNcclSum, comm, stream_.handle());
  }};
  communicator_.group(label, calls);
  transfer->end(stream_);
  return Work(transfer);
}

}  // namespace motley

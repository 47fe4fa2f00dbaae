#pragma once

#include "motley/comm/fabric.h"
#include "motley/comm/nccl/device_order.h"
#include "motley/comm/nccl/nccl_communicator.h"

namespace motley {

/// An edge over NCCL: a communicator of two ranks and a stream of its own, so that it waits for no other edge. Parts of
/// a message are one group. Messages of an edge are in one stream, so that no more than one of its receives, which are
/// kernels that spin, is on the device at a time.
class NcclEdge final : public FabricEdge, public Watched {
 public:
  /// Collective over both ends. `sends`: this rank is the edge's beginning.
  NcclEdge(const NcclSite& site, DeviceOrder& order, int peer, bool sends);

  /// Collective over both ends: four bytes, so that NCCL makes its connections now and not within an iteration. Waits.
  void try_out(const WaitUntil& wait_until);

  void send(std::span<const std::span<const std::byte>> parts, std::string_view label,
            std::vector<Work>& works) override;
  void receive(std::span<const std::span<std::byte>> parts, std::string_view label, std::vector<Work>& works) override;

  std::int64_t ended() override { return pool_.ended(); }
  [[nodiscard]] const DeviceTransfer* oldest() const override {
    return pool_.under_way().empty() ? nullptr : pool_.under_way().front().get();
  }
  [[nodiscard]] NcclCommunicator& communicator() { return communicator_; }
  [[nodiscard]] Stream& stream() { return stream_; }

 private:
  std::shared_ptr<DeviceTransfer> post(std::string_view label, std::span<const NcclCommunicator::Call> calls);

  DeviceOrder& order_;
  int peer_;
  bool sends_;
  Stream stream_;
  NcclCommunicator communicator_;
  std::vector<NcclCommunicator::Call> calls_;
  TransferPool<DeviceTransfer> pool_;
};

/// A sum over NCCL, on a stream of its own.
class NcclReduction final : public Reduction, public Watched {
 public:
  /// Collective over `ranks`, this one among them, ascending.
  NcclReduction(const NcclSite& site, DeviceOrder& order, const std::vector<int>& ranks);

  Work sum(std::span<float> values, std::string_view label) override;

  std::int64_t ended() override { return pool_.ended(); }
  [[nodiscard]] const DeviceTransfer* oldest() const override {
    return pool_.under_way().empty() ? nullptr : pool_.under_way().front().get();
  }
  [[nodiscard]] NcclCommunicator& communicator() { return communicator_; }
  [[nodiscard]] Stream& stream() { return stream_; }

 private:
  DeviceOrder& order_;
  Stream stream_;
  NcclCommunicator communicator_;
  TransferPool<DeviceTransfer> pool_;
};

}  // namespace motley

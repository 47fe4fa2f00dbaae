#pragma once

#include <atomic>
#include <optional>

#include "motley/comm/fabric.h"
#include "motley/comm/nccl/device_order.h"
#include "motley/cuda/memory.h"

namespace motley {

/// A message between a device and the host's transport, through pinned memory of its own.
class StagedTransfer final : public DeviceTransfer {
 public:
  using DeviceTransfer::DeviceTransfer;

  [[nodiscard]] bool is_done() const override;
  /// Of a receive: returns when the bytes are at the host, and what is computed from then on has them.
  void wait() override;
  [[nodiscard]] Seconds start_time() const override;
  [[nodiscard]] Seconds end_time() const override;
  [[nodiscard]] bool times_link() const override { return !works_.empty() && works_.front().times_link(); }

 private:
  friend class StagedEdge;
  struct Part {
    std::byte* device = nullptr;  // of a receive
    std::span<std::byte> pinned;
  };

  void reserve(std::span<const std::size_t> sizes);
  /// Puts what has arrived into the stream; false while it has not.
  bool bring_in();
  /// Of a send whose stream is done: returns when nothing reads the pinned memory any more.
  void end_posted();

  std::optional<CudaMemory> pinned_;
  std::vector<Part> parts_;
  std::vector<Work> works_;  // of the channel
  Channel* channel_ = nullptr;
  Stream* stream_ = nullptr;
  std::atomic<bool> posted_{false};  // by CUDA's thread: works_ are complete
};

/// An edge by way of the host, for devices that NCCL does not connect, or not as fast. The device copies to and from
/// pinned memory in a stream of the edge; a callback at the end of that copy posts the message.
class StagedEdge final : public FabricEdge, public Watched {
 public:
  StagedEdge(DeviceOrder& order, int peer, bool sends);
  /// Waits for the stream, which waits for nothing but the computing before it, and for messages that were posted.
  ~StagedEdge() override;

  void send(std::span<const std::span<const std::byte>> parts, std::string_view label,
            std::vector<Work>& works) override;
  void receive(std::span<const std::span<std::byte>> parts, std::string_view label, std::vector<Work>& works) override;

  std::int64_t ended() override;
  [[nodiscard]] const DeviceTransfer* oldest() const override {
    return pool_.under_way().empty() ? nullptr : pool_.under_way().front().get();
  }

 private:
  [[nodiscard]] std::shared_ptr<StagedTransfer> next(std::string_view label, std::span<const std::size_t> sizes);

  DeviceOrder& order_;
  int peer_;
  bool sends_;
  Stream stream_;
  std::vector<std::size_t> sizes_;
  TransferPool<StagedTransfer> pool_;
};

/// A sum by way of the host. Its works' wait() returns when the sum is made there.
class StagedReduction final : public Reduction, public Watched {
 public:
  StagedReduction(DeviceOrder& order, std::unique_ptr<Group> group, WaitUntil wait_until);
  ~StagedReduction() override;

  Work sum(std::span<float> values, std::string_view label) override;

  std::int64_t ended() override { return 0; }
  [[nodiscard]] const DeviceTransfer* oldest() const override { return nullptr; }

 private:
  class Sum;

  DeviceOrder& order_;
  std::unique_ptr<Group> group_;
  WaitUntil wait_until_;
  Stream stream_;
  std::vector<std::shared_ptr<Sum>> sums_;
};

}  // namespace motley

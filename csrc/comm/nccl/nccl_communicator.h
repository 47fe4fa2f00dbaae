#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "motley/comm/communicator.h"
#include "motley/comm/nccl/api.h"
#include "motley/cuda/stream.h"

namespace motley {

/// What every NCCL communicator of a rank needs; all of it outlives them.
struct NcclSite {
  Communicator& host;  ///< tells the others, and learns from them, why the run ends
  const NcclApi& api;
  const CudaDevice& device;
};

/// One NCCL communicator, for one directed edge or one group of ranks. Non-blocking: every call is polled until it is
/// through, for at most the host's deadline. Failures end the run on every rank and are thrown as CommError.
///
/// Calls come from one thread; only check() and abort() may come from another meanwhile.
class NcclCommunicator {
 public:
  /// Of no more CTAs than this: a transfer shall leave the device to the layers (2 move some 40 GB/s).
  static constexpr int kMostCtas = 2;

  /// An id for a communicator of which this rank is the first.
  [[nodiscard]] static NcclUniqueId new_id(const NcclSite& site);

  /// Collective over the communicator's `size` ranks, of which this is number `rank`. `name` says in messages which it
  /// is: "edge from rank 0 to rank 1".
  NcclCommunicator(const NcclSite& site, std::string name, const NcclUniqueId& id, int size, int rank);
  /// Ends it in order, together with the other ranks, unless it was aborted or the run has failed.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// One of the calls of a group.
  using Call = std::function<int(const NcclApi&, NcclComm)>;
  /// Puts the calls into their streams as one group: those on one stream go on at once, so that a rank may send and
  /// receive, or send to itself.
  void group(std::string_view label, std::span<const Call> calls);

  /// Ends the run when NCCL says that something has failed. From any thread.
  void check();
  /// Lets go of everything at once: what is in streams ends, its bytes undefined. From any thread.
  void abort();

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  void end_in_order();
  /// Until the last call is through.
  void poll(std::string_view what);
  /// Ends the run because of an error, or of what ended it before.
  [[noreturn]] void fail(std::string_view what, int error);
  [[nodiscard]] int state();

  NcclSite site_;
  std::string name_;
  std::mutex mutex_;         // of comm_
  NcclComm comm_ = nullptr;  // null once it has ended
};

}  // namespace motley

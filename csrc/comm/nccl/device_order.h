#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/comm/transfer.h"
#include "motley/cuda/clock.h"
#include "motley/cuda/stream.h"

namespace motley {

/// What all edges of a rank share: whose order its computing has, and whether the run has failed.
struct DeviceOrder {
  Communicator& host;
  Stream& compute;
  const CudaClock& clock;
  /// Throws what ended the run, once nothing touches a buffer of this rank's transfers any more.
  std::function<void()> let_go;
  std::uint64_t begun = 0;  ///< transfers so far
};

/// Returns when `over` says so, or throws why it never will: the wait for `what` of rank `peer` (-1: nobody in
/// particular) has the host's deadline.
using WaitUntil = std::function<void(const std::function<bool()>& over, std::string_view what, int peer)>;

/// A transfer in a stream beside the computing.
class DeviceTransfer : public Transfer {
 public:
  explicit DeviceTransfer(DeviceOrder& order)
      : order_(order),
        ready_(order.compute.device()),
        begun_(order.compute.device(), StreamEvent::Timing::On),
        ended_(order.compute.device(), StreamEvent::Timing::On) {}

  /// Fresh, `stream` behind what was computed so far. `sends`: a message of this rank's.
  void begin(std::string_view label, int peer, bool sends, Stream& stream) {
    label_ = label;
    peer_ = peer;
    sends_ = sends;
    number_ = order_.begun++;
    issued_ = false;
    order_.compute.record(ready_);
    stream.wait(ready_);
    stream.record(begun_);
  }
  void end(Stream& stream) {
    stream.record(ended_);
    issued_ = true;
  }

  [[nodiscard]] bool is_done() const override { return order_.host.failed() || (issued_ && ended_.passed()); }
  void wait() override {
    if (order_.host.failed()) order_.let_go();
    order_.compute.wait(ended_);
  }
  [[nodiscard]] Seconds start_time() const override { return order_.clock.time_of(begun_); }
  [[nodiscard]] Seconds end_time() const override { return order_.clock.time_of(ended_); }
  [[nodiscard]] bool times_link() const override { return sends_; }

  [[nodiscard]] const std::string& label() const { return label_; }
  [[nodiscard]] int peer() const { return peer_; }
  /// Counts the rank's transfers.
  [[nodiscard]] std::uint64_t number() const { return number_; }

 protected:
  DeviceOrder& order_;
  StreamEvent ready_;
  StreamEvent begun_;
  StreamEvent ended_;
  std::string label_;
  int peer_ = -1;
  bool sends_ = false;
  std::uint64_t number_ = 0;
  bool issued_ = false;  // all of it is in the stream
};

/// Transfers of one edge or group: those under way, and those to be used again.
template <typename Kind>
class TransferPool {
 public:
  /// One that nobody holds any more, now the youngest under way.
  template <typename Make>
  std::shared_ptr<Kind> next(Make&& make) {
    std::shared_ptr<Kind> found;
    // Ends are in the order of beginnings, so the oldest is the likeliest.
    for (auto one = ended_.begin(); one != ended_.end(); ++one) {
      if (one->use_count() == 1) {
        found = std::move(*one);
        ended_.erase(one);
        break;
      }
    }
    if (!found) found = make();
    under_way_.push_back(found);
    return found;
  }

  /// How many have ended since the pool was made.
  std::int64_t ended() {
    while (!under_way_.empty() && under_way_.front()->is_done()) {
      ended_.push_back(std::move(under_way_.front()));
      under_way_.pop_front();
      ++count_;
    }
    return count_;
  }
  [[nodiscard]] const std::deque<std::shared_ptr<Kind>>& under_way() const { return under_way_; }

 private:
  std::deque<std::shared_ptr<Kind>> under_way_;
  std::deque<std::shared_ptr<Kind>> ended_;
  std::int64_t count_ = 0;
};

/// What is watched of an edge or group while the host waits for the device.
class Watched {
 public:
  Watched() = default;
  virtual ~Watched() = default;
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  /// Moves on what needs the host; the number of transfers that have ended.
  virtual std::int64_t ended() = 0;
  /// The one that is waited for; null when none is.
  [[nodiscard]] virtual const DeviceTransfer* oldest() const = 0;
};

}  // namespace motley

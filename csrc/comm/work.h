#pragma once

#include <memory>

#include "motley/base/units.h"
#include "motley/comm/transfer.h"

namespace motley {

/// A transfer or a collective on its way: a cheap, copyable handle. An empty handle counts as done.
/// Dropping the handle does not stop the transfer; its buffers must live until it is done.
class Work {
 public:
  Work() = default;
  explicit Work(std::shared_ptr<Transfer> state) : state_(std::move(state)) {}

  /// Complete or failed: wait() would return or throw at once.
  [[nodiscard]] bool done() const { return !state_ || state_->is_done(); }

  /// Between host memories: returns when the transfer is complete: a receive's bytes are in place, a send's buffer may
  /// be used again (it does not mean that the peer has received it). Sleeps meanwhile.
  /// Between devices: what is computed from now on comes after the transfer; returns at once (c10d's meaning), but for
  /// a receive by way of the host, which returns when its bytes are there.
  /// Throws CommError when the run failed before, or when no data moved between the two ranks for
  /// CommOptions::deadline; the run is then over on every rank. Once wait() has thrown, nothing touches the buffer any
  /// more.
  void wait() {
    if (state_) state_->wait();
  }

  /// When the transfer began and ended as this end saw it, on Communicator::now()'s clock: the first byte written or
  /// read, or the link occupied, until the last byte. Meaningful once done() and not failed.
  [[nodiscard]] Seconds started() const { return state_ && done() ? state_->start_time() : Seconds{}; }
  [[nodiscard]] Seconds finished() const { return state_ && done() ? state_->end_time() : Seconds{}; }
  /// Whether that is what the message took on its link, which one of the two ends sees. Between hosts the receiver: a
  /// send is over when the system has taken its bytes. On an emulated link the sender, who keeps its pace. Between
  /// devices the sender: a receive's kernel may begin long before. Meaningful likewise.
  [[nodiscard]] bool times_link() const { return state_ && state_->times_link(); }

 private:
  std::shared_ptr<Transfer> state_;
};

}  // namespace motley

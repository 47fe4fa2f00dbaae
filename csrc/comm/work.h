#pragma once

#include <memory>

#include "motley/base/units.h"

namespace motley {

struct WorkState;

/// A transfer or a collective on its way: a cheap, copyable handle. An empty handle counts as done.
/// Dropping the handle does not stop the transfer; its buffers must live until it is done.
class Work {
 public:
  Work() = default;
  explicit Work(std::shared_ptr<WorkState> state) : state_(std::move(state)) {}

  /// Complete or failed: wait() would return or throw at once.
  [[nodiscard]] bool done() const;

  /// Returns when the transfer is complete: a receive's bytes are in place, a send's buffer may be used again (it does
  /// not mean that the peer has received it). Sleeps meanwhile. Throws CommError when the run failed before, or when no
  /// data moved between the two ranks for CommOptions::deadline; the run is then over on every rank. Once wait() has
  /// thrown, nothing touches the buffer any more.
  void wait();

  /// When the transfer really began and ended, on Communicator::now()'s clock: the first byte written or read, or the
  /// link occupied, until the last byte. Meaningful once done() and not failed.
  [[nodiscard]] Seconds started() const;
  [[nodiscard]] Seconds finished() const;

 private:
  std::shared_ptr<WorkState> state_;
};

}  // namespace motley

#pragma once

#include "motley/cuda/stream.h"

namespace motley {

/// Tells when events were passed, on the host's steady clock. CUDA knows differences alone, in floats, so the clock is
/// wound from time to time.
class CudaClock {
 public:
  /// Waits for `stream`, which should be idle: the host's clock is read when it is.
  explicit CudaClock(Stream& stream);

  /// Of a timed event that is passed, not long before or after the last winding.
  [[nodiscard]] Seconds time_of(const StreamEvent& event) const;

  /// Marks the end of what `stream` has so far. passed() tells when it is reached; then wind() counts from there.
  void mark(Stream& stream);
  [[nodiscard]] bool passed() const { return next_.passed(); }
  void wind();

 private:
  StreamEvent base_;
  StreamEvent next_;
  Seconds base_time_{};
};

}  // namespace motley

#pragma once

#include <cstdint>
#include <optional>

#include "motley/base/units.h"

namespace motley {

/// What the tensors of this process hold on the host, as asked for (the 64 bytes of book-keeping per block excluded).
struct HostMemoryCounts {
  Bytes live;                    ///< now
  Bytes peak;                    ///< most since installation or the last reset_peak()
  std::int64_t allocations = 0;  ///< blocks ever handed out
  std::int64_t fresh = 0;        ///< those among them that came from the system, not from the cache
  Bytes cached;                  ///< given back and kept for the next of their size
};

/// A handle on a counting allocator for CPU tensors. Cheap to copy; every copy reads the same counters.
///
/// The host has no other way to tell how much memory a stage takes, nor to refuse more than a device of the plan has.
/// Blocks are aligned to 64 bytes. What is given back is kept for the next allocation of its size: a step asks for the
/// same sizes as the one before, and memory fresh from the system costs a page fault every 4 KiB. Live and cached bytes
/// together never exceed the most that was ever live by more than an eighth.
/// (Under AddressSanitizer nothing is cached, so that it sees every use after free.)
class HostMemory {
 public:
  struct State;

  /// Makes a new allocator LibTorch's CPU allocator, for the whole process and for ever. Tensors made before keep their
  /// old one. To be called once, early, while no other thread makes tensors.
  [[nodiscard]] static HostMemory install(std::optional<Bytes> cap = std::nullopt);

  [[nodiscard]] HostMemoryCounts counts() const;

  /// The peak starts again from what is live now.
  void reset_peak();

  /// From now on an allocation that would take the live bytes over `cap` throws Fault, naming asked, live and cap
  /// bytes.
  void set_cap(std::optional<Bytes> cap);

 private:
  explicit HostMemory(State* state) : state_(state) {}

  State* state_;  // belongs to the allocator, which LibTorch requires to live as long as the process
};

}  // namespace motley

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace motley::kernels::emulator {

/// Finds accesses to the same byte by two threads of a launch, one of them a write, with nothing between that orders
/// them. Vector clocks (Fidge 1988) within a warp, an epoch for the barriers of a block; blocks are never ordered.
class RaceDetector {
 public:
  struct Thread {
    std::uint32_t block = 0;
    std::uint32_t index = 0;  ///< in the block
  };
  enum class Access { Read, Write, Atomic };
  enum class Memory {
    Global,
    Shared  ///< of a block: what another block did with it is forgotten, and a read needs a write
  };

  void begin_block(std::uint32_t threads);
  /// All threads of the block passed a barrier.
  void barrier();
  /// The lanes of `mask` of warp `warp` passed __syncwarp.
  void warp_barrier(std::uint32_t warp, std::uint32_t mask);

  /// Returns "" or a sentence that names both threads and accesses. O(bytes), and for a write the readers before it.
  [[nodiscard]] std::string access(const Thread& thread, std::uintptr_t address, std::size_t bytes, Access kind,
                                   Memory memory = Memory::Global);

 private:
  using Clock = std::array<std::uint32_t, 32>;
  struct Stamp {
    Thread thread;
    Access kind;
    std::uint32_t epoch;
    std::uint32_t clock;
  };

  /// Since the last write that all of them are ordered after.
  class History {
   public:
    /// Remembers `stamp` where a later conflict could be missed without it.
    void add(const Stamp& stamp);
    void clear();
    [[nodiscard]] const std::vector<Stamp>& stamps() const { return stamps_; }

   private:
    std::vector<Stamp> stamps_;
    bool two_blocks_ = false;  // whatever comes later, one of them is of another block: enough
  };
  struct Byte {
    History reads;
    History writes;
    History atomics;
  };

  [[nodiscard]] bool ordered(const Stamp& before, const Thread& now) const;
  [[nodiscard]] std::string conflict(const History& history, const Thread& thread, Access kind) const;

  std::uint32_t epoch_ = 0;
  std::vector<Clock> clocks_;  // of each thread of the block: its warp's lanes
  std::unordered_map<std::uintptr_t, Byte> global_;
  std::unordered_map<std::uintptr_t, Byte> shared_;
};

}  // namespace motley::kernels::emulator

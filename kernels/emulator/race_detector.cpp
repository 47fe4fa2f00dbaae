#include "motley/kernels/emulator/race_detector.h"

#include <algorithm>

namespace motley::kernels::emulator {
namespace {

const char* name_of(RaceDetector::Access kind) {
  switch (kind) {
    case RaceDetector::Access::Read:
      return "reads";
    case RaceDetector::Access::Write:
      return "writes";
    default:
      return "changes atomically";
  }
}

std::string name_of(const RaceDetector::Thread& thread) {
  return "thread " + std::to_string(thread.index) + " of block " + std::to_string(thread.block);
}

}  // namespace

void RaceDetector::begin_block(std::uint32_t threads) {
  epoch_ = 0;
  shared_.clear();
  clocks_.assign(threads, Clock{});
  for (std::uint32_t thread = 0; thread < threads; ++thread) {
    clocks_[thread][thread % 32] = 1;
  }
}

void RaceDetector::barrier() {
  ++epoch_;
}

void RaceDetector::warp_barrier(std::uint32_t warp, std::uint32_t mask) {
  Clock joined{};
  const auto each_lane = [&](auto&& body) {
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1U) != 0 && warp * 32 + lane < clocks_.size()) {
        body(lane, clocks_[warp * 32 + lane]);
      }
    }
  };
  each_lane([&](std::uint32_t, const Clock& clock) {
    for (std::size_t i = 0; i < joined.size(); ++i) {
      joined[i] = std::max(joined[i], clock[i]);
    }
  });
  each_lane([&](std::uint32_t lane, Clock& clock) {
    clock = joined;
    ++clock[lane];
  });
}

bool RaceDetector::ordered(const Stamp& before, const Thread& now) const {
  if (before.thread.block != now.block) {
    return false;
  }
  if (before.thread.index == now.index || before.epoch < epoch_) {
    return true;
  }
  return before.thread.index / 32 == now.index / 32 && before.clock <= clocks_[now.index][before.thread.index % 32];
}

void RaceDetector::History::add(const Stamp& stamp) {
  if (two_blocks_) {
    return;
  }
  if (!stamps_.empty()) {
    const Stamp& last = stamps_.back();
    if (last.thread.block != stamp.thread.block) {
      two_blocks_ = true;
    } else if (last.epoch != stamp.epoch) {
      stamps_.clear();  // a barrier orders them before all that the block still does; another block meets `stamp`
    } else if (last.thread.index == stamp.thread.index && last.clock == stamp.clock) {
      return;
    }
  }
  stamps_.push_back(stamp);
}

void RaceDetector::History::clear() {
  stamps_.clear();
  two_blocks_ = false;
}

std::string RaceDetector::conflict(const History& history, const Thread& thread, Access kind) const {
  for (const Stamp& before : history.stamps()) {
    if (!ordered(before, thread)) {
      return name_of(thread) + " " + name_of(kind) + " what " + name_of(before.thread) + " " + name_of(before.kind) +
             ", with nothing between them that orders the two";
    }
  }
  return "";
}

std::string RaceDetector::access(const Thread& thread, std::uintptr_t address, std::size_t bytes, Access kind,
                                 Memory memory) {
  const Stamp stamp{thread, kind, epoch_, clocks_[thread.index][thread.index % 32]};
  for (std::uintptr_t place = address; place < address + bytes; ++place) {
    Byte& byte = memory == Memory::Global ? global_[place] : shared_[place];
    if (memory == Memory::Shared && kind != Access::Write && byte.writes.stamps().empty() &&
        byte.atomics.stamps().empty()) {
      return name_of(thread) + " " + name_of(kind) + " shared memory that no thread of its block wrote";
    }
    std::string found = conflict(byte.writes, thread, kind);
    if (found.empty() && kind != Access::Read) {
      found = conflict(byte.reads, thread, kind);
    }
    if (found.empty() && kind != Access::Atomic) {
      found = conflict(byte.atomics, thread, kind);
    }
    if (!found.empty()) {
      return found;
    }
    if (kind == Access::Read) {
      byte.reads.add(stamp);
      continue;
    }
    // All that it conflicts with is ordered before it.
    byte.writes.clear();
    byte.reads.clear();
    if (kind == Access::Write) {
      byte.atomics.clear();
      byte.writes.add(stamp);
    } else {
      byte.atomics.add(stamp);
    }
  }
  return "";
}

}  // namespace motley::kernels::emulator

#include <link.h>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>

#include <algorithm>
#include <exception>
#include <map>
#include <random>
#include <vector>

#include "motley/kernels/emulator/cuda.h"
#include "motley/kernels/emulator/race_detector.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace motley::kernels::emulator {
namespace {

namespace context = boost::context;

constexpr std::size_t kStackBytes = 128 << 10;

/// Lanes of a warp on their way into one operation.
struct Meeting {
  unsigned arrived = 0;
  std::array<std::uint64_t, 32> values{};
};

struct Fiber {
  enum class State { Runnable, AtBarrier, AtWarp, Finished };

  Coordinates coordinates;
  context::fiber context;
  context::fiber caller;
  State state = State::Runnable;
  unsigned mask = 0;                         // AtWarp: what it waits for
  std::array<std::uint64_t, 32> received{};  // of the last meeting
  char* stack_low = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
#endif
};

/// Unwinds a thread whose block another one has failed.
struct Abandoned : std::exception {};

/// Stacks that are handed out again for the next block.
class StackPool {
 public:
  StackPool() = default;
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool() {
    for (context::stack_context& stack : free_) {
      allocator_.deallocate(stack);
    }
  }
  context::stack_context take() {
    if (free_.empty()) {
      return allocator_.allocate();
    }
    const context::stack_context stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void give_back(const context::stack_context& stack) { free_.push_back(stack); }

 private:
  context::fixedsize_stack allocator_{kStackBytes};
  std::vector<context::stack_context> free_;
};

struct PooledStack {
  StackPool* pool;
  context::stack_context allocate() { return pool->take(); }
  void deallocate(context::stack_context& stack) { pool->give_back(stack); }
};

/// Where the calling thread's thread-local variables are, among them all shared memory.
std::vector<std::pair<std::uintptr_t, std::uintptr_t>> thread_local_memory() {
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t /*size*/, void* found) {
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          if (object->dlpi_phdr[i].p_type == PT_TLS && object->dlpi_tls_data != nullptr) {
            const auto begin = reinterpret_cast<std::uintptr_t>(object->dlpi_tls_data);
            static_cast<decltype(&ranges)>(found)->emplace_back(begin, begin + object->dlpi_phdr[i].p_memsz);
          }
        }
        return 0;
      },
      &ranges);
  return ranges;
}

class Launch;
thread_local Launch* running = nullptr;
thread_local std::uint64_t seed = 1;

class Launch {
 public:
  Launch(dim3 grid, dim3 block, const std::function<void()>& thread)
      : grid_(grid), block_(block), thread_(thread), random_(seed) {
    if (running != nullptr) {
      throw KernelError("a kernel starts a kernel");
    }
    const std::size_t threads = std::size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
        grid.z > 65535) {
      throw KernelError("a launch of " + std::to_string(threads) + " threads a block and " + std::to_string(grid.x) +
                        " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z) +
                        " blocks, expected 1 to 1024 threads and at least one block");
    }
    running = this;
  }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;
  ~Launch() { running = nullptr; }

  void run() {
    std::uint32_t number = 0;
    for (unsigned z = 0; z < grid_.z; ++z) {
      for (unsigned y = 0; y < grid_.y; ++y) {
        for (unsigned x = 0; x < grid_.x; ++x) {
          block_number_ = number++;
          run_block(dim3(x, y, z));
        }
      }
    }
  }

  Fiber& current() { return *current_; }
  std::uint32_t index_of(const Fiber& fiber) const { return static_cast<std::uint32_t>(&fiber - fibers_.data()); }

  void barrier() {
    current_->state = Fiber::State::AtBarrier;
    leave();
  }

  /// Meets the lanes of `mask`; every one then has what all gave.
  void meet(unsigned mask, std::uint64_t value, bool orders_memory) {
    Fiber& fiber = *current_;
    const std::uint32_t index = index_of(fiber);
    const unsigned lane = index % 32;
    if ((mask >> lane & 1U) == 0) {
      throw KernelError(where(index) + " is not in the mask " + hex(mask) + " of its own warp operation");
    }
    const std::size_t first = index - lane;
    for (unsigned other = 0; other < 32; ++other) {
      const bool named = (mask >> other & 1U) != 0;
      if (first + other >= fibers_.size()) {
        continue;  // a device ignores bits beyond a partial warp's lanes
      }
      const Fiber& peer = fibers_[first + other];
      if (named && peer.state == Fiber::State::AtWarp && peer.mask != mask) {
        throw KernelError(where(index) + " comes with mask " + hex(mask) + " while " +
                          where(static_cast<std::uint32_t>(first + other)) + " waits with mask " + hex(peer.mask));
      }
    }
    Meeting& meeting = meetings_[{index / 32, mask}];
    meeting.arrived |= 1U << lane;
    meeting.values[lane] = value;
    const unsigned lanes_there = fibers_.size() - first >= 32 ? 0xffffffffU : (1U << (fibers_.size() - first)) - 1U;
    if (meeting.arrived == (mask & lanes_there)) {
      for (unsigned other = 0; other < 32; ++other) {
        if ((meeting.arrived >> other & 1U) != 0) {
          Fiber& peer = fibers_[first + other];
          peer.received = meeting.values;
          peer.state = Fiber::State::Runnable;
        }
      }
      if (orders_memory) {
        races_.warp_barrier(index / 32, meeting.arrived);
      }
      meetings_.erase({index / 32, mask});
      return;
    }
    fiber.state = Fiber::State::AtWarp;
    fiber.mask = mask;
    leave();
  }

  void access(std::uintptr_t address, std::size_t bytes, RaceDetector::Access kind) {
    if (current_ == nullptr) {
      return;
    }
    const auto low = reinterpret_cast<std::uintptr_t>(current_->stack_low);
    if (address >= low && address < low + kStackBytes) {
      return;  // the thread's own variables
    }
    const std::uint32_t index = index_of(*current_);
    const bool shared = std::any_of(shared_memory_.begin(), shared_memory_.end(), [&](const auto& range) {
      return address >= range.first && address < range.second;
    });
    const auto memory = shared ? RaceDetector::Memory::Shared : RaceDetector::Memory::Global;
    if (const std::string race = races_.access({block_number_, index}, address, bytes, kind, memory);
        !race.empty() && !error_) {
      error_ = std::make_exception_ptr(KernelError("race: " + race));
    }
  }

 private:
  static std::string hex(unsigned mask) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x", mask);
    return text;
  }
  std::string where(std::uint32_t index) const {
    return "thread " + std::to_string(index) + " of block " + std::to_string(block_number_);
  }

  /// From a fiber back to the scheduler.
  void leave() {
    Fiber& fiber = *current_;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fiber.fake_stack, scheduler_stack_, scheduler_stack_bytes_);
#endif
    fiber.caller = std::move(fiber.caller).resume();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.fake_stack, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
    if (error_) {
      throw Abandoned{};
    }
  }

  void enter(Fiber& fiber) {
    current_ = &fiber;
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, fiber.stack_low, kStackBytes);
#endif
    fiber.context = std::move(fiber.context).resume();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    current_ = nullptr;
  }

  void start(Fiber& fiber) {
    const context::stack_context stack = pool_.take();
    fiber.stack_low = static_cast<char*>(stack.sp) - stack.size;
    fiber.context =
        context::fiber(std::allocator_arg, context::preallocated(stack.sp, stack.size, stack), PooledStack{&pool_},
                       [this, &fiber](context::fiber&& caller) { return run_thread(fiber, std::move(caller)); });
  }

  context::fiber run_thread(Fiber& fiber, context::fiber&& caller) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
    fiber.caller = std::move(caller);
    try {
      if (!error_) {
        thread_();
      }
    } catch (...) {
      if (!error_) {
        error_ = std::current_exception();
      }
    }
    fiber.state = Fiber::State::Finished;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(nullptr, scheduler_stack_, scheduler_stack_bytes_);
#endif
    return std::move(fiber.caller);
  }

  void run_block(dim3 block) {
    fibers_.clear();
    fibers_.resize(std::size_t{block_.x} * block_.y * block_.z);
    meetings_.clear();
    races_.begin_block(static_cast<std::uint32_t>(fibers_.size()));
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      const auto n = static_cast<unsigned>(i);
      fibers_[i].coordinates = {dim3(n % block_.x, n / block_.x % block_.y, n / (block_.x * block_.y)), block, block_,
                                grid_};
      start(fibers_[i]);
    }
    std::vector<std::size_t> runnable;
    while (!error_) {
      runnable.clear();
      std::size_t finished = 0, at_barrier = 0;
      for (std::size_t i = 0; i < fibers_.size(); ++i) {
        finished += fibers_[i].state == Fiber::State::Finished ? 1 : 0;
        at_barrier += fibers_[i].state == Fiber::State::AtBarrier ? 1 : 0;
        if (fibers_[i].state == Fiber::State::Runnable) {
          runnable.push_back(i);
        }
      }
      if (finished == fibers_.size()) {
        break;
      }
      if (runnable.empty()) {
        if (finished + at_barrier < fibers_.size()) {
          report_stuck();
          break;
        }
        races_.barrier();
        for (Fiber& fiber : fibers_) {
          if (fiber.state == Fiber::State::AtBarrier) {
            fiber.state = Fiber::State::Runnable;
          }
        }
        continue;
      }
      std::shuffle(runnable.begin(), runnable.end(), random_);
      for (const std::size_t i : runnable) {
        if (!error_ && fibers_[i].state == Fiber::State::Runnable) {
          enter(fibers_[i]);
        }
      }
    }
    if (error_) {
      for (Fiber& fiber : fibers_) {
        if (fiber.state != Fiber::State::Finished) {
          enter(fiber);
        }
      }
      std::rethrow_exception(error_);
    }
  }

  void report_stuck() {
    std::string text = "no thread can go on:";
    int named = 0;
    for (std::size_t i = 0; i < fibers_.size() && named < 4; ++i) {
      const Fiber& fiber = fibers_[i];
      if (fiber.state == Fiber::State::AtWarp) {
        text += " " + where(static_cast<std::uint32_t>(i)) + " waits in a warp operation for the lanes " +
                hex(fiber.mask) + ";";
        ++named;
      }
    }
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      if (fibers_[i].state == Fiber::State::AtBarrier || fibers_[i].state == Fiber::State::Finished) {
        text += " " + where(static_cast<std::uint32_t>(i)) +
                (fibers_[i].state == Fiber::State::AtBarrier ? " waits at __syncthreads" : " has ended");
        break;
      }
    }
    error_ = std::make_exception_ptr(KernelError(text));
  }

  dim3 grid_, block_;
  const std::function<void()>& thread_;
  std::mt19937_64 random_;
  const std::vector<std::pair<std::uintptr_t, std::uintptr_t>> shared_memory_ = thread_local_memory();
  RaceDetector races_;
  StackPool pool_;
  std::vector<Fiber> fibers_;
  std::map<std::pair<std::uint32_t, unsigned>, Meeting> meetings_;
  Fiber* current_ = nullptr;
  std::uint32_t block_number_ = 0;
  std::exception_ptr error_;
#if defined(__SANITIZE_ADDRESS__)
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
#endif
};

void note(const void* address, std::size_t bytes, RaceDetector::Access kind) {
  if (running != nullptr) {
    running->access(reinterpret_cast<std::uintptr_t>(address), bytes, kind);
  }
}

}  // namespace

const Coordinates& self() {
  return running->current().coordinates;
}

int lane() {
  return static_cast<int>(running->index_of(running->current()) % 32);
}

void sync_threads() {
  running->barrier();
}

void sync_warp(unsigned mask) {
  running->meet(mask, 0, true);
}

std::uint64_t shuffle(unsigned mask, std::uint64_t bits, int source) {
  // A lane may read its own value whatever the mask; a lane that is not there gives nothing.
  const int own = lane();
  if (source != own && (source < 0 || source > 31 || (mask >> source & 1U) == 0)) {
    throw KernelError("lane " + std::to_string(own) + " reads lane " + std::to_string(source) +
                      ", which is not in the mask of the shuffle");
  }
  running->meet(mask, bits, false);
  return running->current().received[static_cast<std::size_t>(source)];
}

unsigned ballot(unsigned mask, bool predicate) {
  running->meet(mask, predicate ? 1 : 0, false);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1U) != 0 && running->current().received[lane] != 0) {
      votes |= 1U << lane;
    }
  }
  return votes;
}

void atomic_access(const void* address, std::size_t bytes) {
  note(address, bytes, RaceDetector::Access::Atomic);
}

void set_seed(std::uint64_t value) {
  seed = value;
}

void run(dim3 grid, dim3 block, const std::function<void()>& thread) {
  Launch(grid, block, thread).run();
}

void note_read(const void* address, std::size_t bytes) {
  note(address, bytes, RaceDetector::Access::Read);
}

void note_write(const void* address, std::size_t bytes) {
  note(address, bytes, RaceDetector::Access::Write);
}

}  // namespace motley::kernels::emulator

float atomicAdd(float* address, float value) {
  motley::kernels::emulator::atomic_access(address, sizeof(float));
  const float before = *address;
  *address = before + value;
  return before;
}

unsigned atomicMax(unsigned* address, unsigned value) {
  motley::kernels::emulator::atomic_access(address, sizeof(unsigned));
  const unsigned before = *address;
  *address = std::max(before, value);
  return before;
}

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace motley::fakes {

/// What a call put into a stream, in the order of calls.
struct Operation {
  enum class Kind { Record, Wait, Copy, Call, Send, Receive, AllReduce, Kernel };
  Kind kind = Kind::Record;
  int device = 0;
  int stream = 0;          ///< counts streams from 1
  std::uint64_t mark = 0;  ///< of Record and Wait: one number for each record
  int marked_stream = 0;   ///< of Wait: the stream of that record
  std::size_t bytes = 0;
  const void* data = nullptr;
  std::string name = {};  ///< of Kernel: its name in the table
};

/// What exists.
struct Counts {
  int streams = 0;
  int events = 0;
  int device_blocks = 0;
  int pinned_blocks = 0;
  int communicators = 0;
};

/// How a test steers the fakes of this process. The library's symbol "motleyFakeCuda" returns it.
///
/// A script is a list of "NAME[@N][=VALUE]" between semicolons, each with "deviceD:" or "rankR:" before it where it
/// shall hold only there (the rank is mpirun's):
///   devices=2, memory=1000000   what there is (CUDA_VISIBLE_DEVICES may hide some)
///   driver=12040, runtime=13000, capability=80, nccl_version=22703   what it is
///   cudaMalloc@3=2              the fourth cudaMalloc returns error 2; so for every call of CUDA and NCCL, and for
///                               every kernel (kernel.adamw)
///   sticky@10=700               from the eleventh record of an event on, every call on the device returns 700
///   event.delay=0.001           every record of an event passes so many seconds after what is before it
///   nccl.buffers=4e6            what a communicator takes of its device's memory
///   nccl.init_hang              a communicator never gets connected
///   nccl.lose@5                 the sixth message of an edge never arrives
///   nccl.hang@5                 the sixth transfer never ends
///   nccl.async@5=6              after five transfers the communicator reports error 6
///   nccl.delay=0.01             every transfer takes so many seconds
/// The environment's MOTLEY_FAKE_SCRIPT is played from the start.
class Control {
 public:
  virtual ~Control() = default;
  /// Forgets scripts, operations and misuse, then plays `script`.
  virtual void play(const std::string& script) = 0;
  [[nodiscard]] virtual std::vector<Operation> operations() const = 0;
  [[nodiscard]] virtual Counts counts() const = 0;
  /// What no correct program does: a handle used after its end, a communicator used while a call is in progress.
  [[nodiscard]] virtual std::vector<std::string> misuse() const = 0;
};

}  // namespace motley::fakes

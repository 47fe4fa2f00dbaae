#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "motley/comm/work.h"

namespace motley {

class Communicator;

/// One directed edge between stages, over memory of the rank's device. As with a Channel: first in, first out; both
/// sides give the same sizes; calls return at once.
class FabricEdge {
 public:
  FabricEdge() = default;
  virtual ~FabricEdge() = default;
  FabricEdge(const FabricEdge&) = delete;
  FabricEdge& operator=(const FabricEdge&) = delete;

  /// Parts of one message. What was computed before is in the parts when they leave. Adds one or several works to
  /// `works`; the parts must stay as they are until those are done.
  virtual void send(std::span<const std::span<const std::byte>> parts, std::string_view label,
                    std::vector<Work>& works) = 0;
  /// What was computed before may still use the parts.
  virtual void receive(std::span<const std::span<std::byte>> parts, std::string_view label,
                       std::vector<Work>& works) = 0;
};

/// A sum over ranks that replicate a stage, over memory of the rank's device.
class Reduction {
 public:
  Reduction() = default;
  virtual ~Reduction() = default;
  Reduction(const Reduction&) = delete;
  Reduction& operator=(const Reduction&) = delete;

  /// As Group::all_reduce_sum_async; between devices the order of the sum is the library's.
  [[nodiscard]] virtual Work sum(std::span<float> values, std::string_view label) = 0;
};

/// All edges and groups of a rank, and how its computing is in order with them.
class Fabric {
 public:
  Fabric() = default;
  virtual ~Fabric() = default;
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;

  [[nodiscard]] virtual FabricEdge& to(int peer) = 0;
  [[nodiscard]] virtual FabricEdge& from(int peer) = 0;
  /// Of the groups the fabric was made with. Collective as Communicator::group.
  [[nodiscard]] virtual std::unique_ptr<Reduction> reduction(const std::vector<int>& ranks) = 0;

  /// Moves on what needs a hand. Cheap; to be called between actions.
  virtual void progress() = 0;
  /// To be called before `label` computes.
  virtual void before_compute(std::string_view label) = 0;
  /// Returns when all that was computed so far is done, so that its results may be read. Throws CommError when the run
  /// has failed, or when nothing of it has moved for the deadline, which ends the run on every rank. `moved` tells how
  /// much of the computing is done.
  virtual void settle(std::string_view label, const std::function<std::int64_t()>& moved) = 0;
};

/// A directed edge that is used, and how it crosses: "nccl", or "host" for the communicator's own transport.
struct EdgeUse {
  int from = 0;
  int to = 0;
  std::string transport = "host";
  friend auto operator<=>(const EdgeUse&, const EdgeUse&) = default;
};

/// Between hosts' memories, over the communicator.
[[nodiscard]] std::unique_ptr<Fabric> host_fabric(Communicator& communicator);

}  // namespace motley

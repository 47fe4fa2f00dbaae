#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "motley/plan/profile.h"

namespace motley::parametric {

/// Times of messages of a few amounts on every directed link, as plain seconds. O(devices^2 * amounts), on two threads.
class LinkTimes {
 public:
  /// Keeps nothing where that would be more than kMostTimes.
  LinkTimes(const ClusterProfile& cluster, std::vector<Bytes> amounts);

  /// [from * devices + to]; nullptr where they are not kept.
  [[nodiscard]] const double* of(Bytes amount) const;

  static constexpr std::size_t kMostTimes = 50'000'000;

 private:
  std::vector<Bytes> amounts_;
  std::vector<std::vector<double>> times_;  // [amount][from * devices + to]
};

/// What every big instance of `profile` shares, whatever the micro-batch size.
struct Topology {
  explicit Topology(const Profile& profile);

  std::vector<int> type;                 ///< [device]
  std::vector<int> host;                 ///< [device]
  std::vector<std::vector<int>> hosts;   ///< [host], its devices
  std::vector<int> block;                ///< [device]
  std::vector<std::vector<int>> blocks;  ///< [block], its devices: a host or a part of one, which stay together
  std::vector<double> memory;            ///< [device], bytes that stages may use
  std::vector<const DeviceTimes*> busy;  ///< [type]
};

/// Seconds that every plan needs after its last backward: U of prices.h.
struct AfterBackwards {
  double all = 0.0;
  double update = 0.0;  ///< of these, its longest update's; infinite where updates do not wait for all backwards
};
[[nodiscard]] AfterBackwards least_after_backwards(const Profile& profile, const Topology& topology, bool clip);

/// One micro-batch size in plain numbers, layers as prefix sums: seconds and bytes.
///
/// Work is a stage's forward and backward of one micro-batch with the engine's time for both. Memory is bounded from
/// both sides, since the simulator's peak depends on when messages come: fixed_memory + depth * saved (with every
/// micro-batch in flight no activation is posted ahead any more) <= peak <= most_memory.
struct Instance {
  /// `topology` and `profile` must outlive it. `links` must know the boundaries' bytes of this size.
  Instance(const Profile& profile, const Topology& topology, const LinkTimes& links, std::int64_t size,
           std::int64_t global_batch);

  [[nodiscard]] double work_of(int t, int first, int end) const {
    return work[t][end] - work[t][first] + 2.0 * overhead;
  }
  [[nodiscard]] double forward_of(int t, int first, int end) const {
    return forward[t][end] - forward[t][first] + overhead;
  }
  [[nodiscard]] double update_of(int t, int first, int end) const { return update[t][end] - update[t][first]; }

  /// What a stage holds whatever its depth: weights, gradients, state, and of its messages those that are posted ahead
  /// during its last warm-up forward: one activation more than it works on and the first two gradients.
  [[nodiscard]] double fixed_memory(int first, int end) const {
    return resident[end] - resident[first] + posted_in[first] + posted_out[end];
  }
  [[nodiscard]] double saved_of(int first, int end) const { return saved[end] - saved[first]; }
  /// The most micro-batches that a stage can have in flight: each `saves` so many bytes, with `room` for them beside
  /// fixed_memory, of which `posted` are not there when every micro-batch is in flight; 0: not even one.
  [[nodiscard]] double most_in_flight(double room, double saves, double posted) const {
    if (micro_batches * saves <= room + posted) return micro_batches;
    return room < saves ? 0.0 : std::min(micro_batches - 1.0, std::floor(room / saves));
  }
  /// At least the peak of a stage of `depth`.
  [[nodiscard]] double most_memory(int first, int end, double depth) const {
    return resident[end] - resident[first] + depth * saved_of(first, end) + excess;
  }
  /// Seconds of a message of the boundary before layer `cut`.
  [[nodiscard]] double send_forward(int from, int to, int cut) const {
    return send(forward_times[cut], forward_amounts[cut], from, to);
  }
  [[nodiscard]] double send_backward(int from, int to, int cut) const {
    return send(backward_times[cut], backward_amounts[cut], from, to);
  }

  /// No plan takes longer before its last backward: every micro-batch alone, every layer on the slowest device, every
  /// boundary crossed by the slowest link.
  [[nodiscard]] double longest_iteration() const;

  /// All amounts that cross boundaries with micro-batches of `size`.
  [[nodiscard]] static std::vector<Bytes> amounts(const ModelProfile& model, std::int64_t size);

  const Topology& topology;
  const ClusterProfile& cluster;
  std::int64_t size;
  std::int64_t count;    ///< micro-batches
  double micro_batches;  ///< the same
  int layers;
  std::size_t devices;
  double overhead;                                         ///< of the engine, per pass
  std::vector<std::vector<double>> work, forward, update;  ///< [type][layer + 1], without the engine's time
  std::vector<double> resident, saved;                     ///< [layer + 1]
  std::vector<double> posted_in, posted_out;               ///< [cut]; 0 at the ends
  double excess = 0.0;  ///< most bytes beside resident and saved: passes' peaks, messages posted and on their way
  std::vector<Bytes> forward_amounts, backward_amounts;      ///< [cut]; cuts 0 and L unused
  std::vector<const double*> forward_times, backward_times;  ///< [cut]

 private:
  [[nodiscard]] double send(const double* times, Bytes amount, int from, int to) const {
    return times != nullptr ? times[static_cast<std::size_t>(from) * devices + to]
                            : cluster.links[from][to].time(amount).value;
  }
};

}  // namespace motley::parametric

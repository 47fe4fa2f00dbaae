#pragma once

#include <cstdint>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// Devices that can change places without changing any plan's cost: same type, same memory, and the link matrix stays
/// as it is when the two are swapped. Swaps compose, so this is an equivalence. O(D^3 points).
[[nodiscard]] std::vector<std::vector<int>> interchangeable_devices(const ClusterProfile& cluster);

/// Times of every interval of layers for one micro-batch size, from prefix sums of the busy tables; O(1) a question.
/// Unpacked to plain seconds and bytes for the search's inner loop.
class StageTables {
 public:
  /// `classes` as from interchangeable_devices, or any finer partition of the devices. O(C L + C^2 L log points).
  StageTables(const Profile& profile, std::int64_t size, const std::vector<std::vector<int>>& classes);

  [[nodiscard]] int layers() const { return layers_; }
  [[nodiscard]] int classes() const { return classes_; }
  /// Forward seconds of layers [first, end) on class c.
  [[nodiscard]] double forward(int c, int first, int end) const { return interval(forward_, c, first, end); }
  [[nodiscard]] double backward(int c, int first, int end) const { return interval(backward_, c, first, end); }
  [[nodiscard]] double update(int c, int first, int end) const { return interval(update_, c, first, end); }
  /// Seconds of the forward (backward) message of the boundary before layer `cut`, upstream class a, downstream class
  /// b.
  [[nodiscard]] double send_forward(int a, int b, int cut) const { return send_forward_[link(a, b, cut)]; }
  [[nodiscard]] double send_backward(int a, int b, int cut) const { return send_backward_[link(a, b, cut)]; }
  /// A lower bound of the peak bytes of layers [first, end) with `in_flight` micro-batches: weights, gradients,
  /// optimiser state and what is saved.
  [[nodiscard]] std::int64_t memory(int first, int end, std::int64_t in_flight) const {
    return resident_[end] - resident_[first] + in_flight * (saved_[end] - saved_[first]);
  }
  /// Bytes that a device of class c has for stages.
  [[nodiscard]] std::int64_t capacity(int c) const { return capacity_[c]; }

 private:
  [[nodiscard]] double interval(const std::vector<double>& prefix, int c, int first, int end) const {
    return prefix[c * (layers_ + 1) + end] - prefix[c * (layers_ + 1) + first];
  }
  [[nodiscard]] std::size_t link(int a, int b, int cut) const {
    const int index = (a * classes_ + b) * (layers_ + 1) + cut;
    return static_cast<std::size_t>(index);
  }

  int layers_;
  int classes_;
  std::vector<double> forward_, backward_, update_;   // [class][layer + 1], prefix sums
  std::vector<double> send_forward_, send_backward_;  // [class][class][cut]
  std::vector<std::int64_t> resident_, saved_;        // [layer + 1], prefix sums
  std::vector<std::int64_t> capacity_;                // [class]
};

}  // namespace motley

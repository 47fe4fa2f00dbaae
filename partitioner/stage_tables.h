#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "motley/partitioner/search.h"
#include "motley/plan/wire.h"

namespace motley {

/// Devices that can change places without changing any plan's cost: same type, memory and price, same host where a NIC
/// is shared, alike in the measured groups of all_reduce, and the link matrix stays as it is when the two are swapped.
/// Swaps compose, so this is an equivalence. O(D^3 points + D^2 groups).
[[nodiscard]] std::vector<std::vector<int>> interchangeable_devices(const ClusterProfile& cluster);

/// What the tables are asked for.
struct TableRequest {
  std::int64_t size = 0;             ///< of a micro-batch
  std::vector<std::int64_t> shares;  ///< numbers of samples that a device may have of it
  std::vector<std::string> wires = {"float32"};
  bool apart = false;  ///< input and weight gradients apart (zero-bubble)
};

/// Times and bytes of every interval of layers for one micro-batch size, from prefix sums of the busy tables; O(1) a
/// question but for messages, O(log points). Unpacked to plain seconds and bytes for the search's inner loop. The
/// engine's own time per action is in the passes.
class StageTables {
 public:
  /// `classes` as from interchangeable_devices, or any finer partition of the devices. Keeps a reference to `profile`.
  /// O(C S L + W S L) for S shares and W wires.
  StageTables(const Profile& profile, const std::vector<std::vector<int>>& classes, const TableRequest& request);

  [[nodiscard]] int layers() const { return layers_; }
  [[nodiscard]] int classes() const { return static_cast<int>(capacity_.size()); }
  [[nodiscard]] int shares() const { return static_cast<int>(request_.shares.size()); }
  [[nodiscard]] int wires() const { return static_cast<int>(request_.wires.size()); }
  [[nodiscard]] const std::vector<std::string>& wire_names() const { return request_.wires; }
  /// Index of a number of samples that was asked for.
  [[nodiscard]] int share(std::int64_t samples) const;
  [[nodiscard]] std::int64_t samples(int share) const { return request_.shares[static_cast<std::size_t>(share)]; }

  /// Forward seconds of layers [first, end) on class c, of `share`; likewise what follows.
  [[nodiscard]] double forward(int c, int share, int first, int end) const {
    return overhead_ + interval(forward_, row(c, share), first, end);
  }
  /// What the stage before waits for: B, or I where they are apart.
  [[nodiscard]] double backward(int c, int share, int first, int end) const {
    return overhead_ + interval(backward_, row(c, share), first, end);
  }
  /// W where they are apart, else nothing.
  [[nodiscard]] double weight(int c, int share, int first, int end) const {
    return request_.apart ? overhead_ + interval(weight_, row(c, share), first, end) : 0.0;
  }
  [[nodiscard]] double update(int c, int first, int end) const {
    return overhead_ + interval(update_, static_cast<std::size_t>(c) * width(), first, end);
  }
  [[nodiscard]] double overhead() const { return overhead_; }  ///< in each of these
  [[nodiscard]] std::int64_t parameters(int first, int end) const { return parameters_[end] - parameters_[first]; }

  /// Seconds of a message on its link: `samples` of the boundary before layer `cut`, from a device of class `from` to
  /// one of `to`.
  [[nodiscard]] double transfer(Pass pass, int from, int to, int cut, std::int64_t samples, int wire) const;
  [[nodiscard]] std::int64_t message_bytes(Pass pass, int cut, std::int64_t samples, int wire) const;
  /// Seconds that it takes a device of class c to send it, or to receive it: see Codec.
  [[nodiscard]] double encode(Pass pass, int c, int cut, std::int64_t samples, int wire) const {
    return coding(encoding_, &Codec::encode, pass, c, cut, samples, wire);
  }
  [[nodiscard]] double decode(Pass pass, int c, int cut, std::int64_t samples, int wire) const {
    return coding(decoding_, &Codec::decode, pass, c, cut, samples, wire);
  }

  /// Weights, gradients and optimiser state.
  [[nodiscard]] std::int64_t resident(int first, int end) const { return resident_[end] - resident_[first]; }
  /// What a micro-batch keeps between its passes: what it saved, or with `recompute` its input.
  [[nodiscard]] std::int64_t kept(int share, int first, int end, bool recompute) const {
    const std::size_t at = static_cast<std::size_t>(share) * width();
    return recompute ? input_[at + first] : saved_[at + end] - saved_[at + first];
  }
  /// A lower bound of the peak bytes of layers [first, end) with `in_flight` micro-batches: weights, gradients,
  /// optimiser state and what is saved; with `recompute` only the inputs of all but one.
  [[nodiscard]] std::int64_t memory(int share, int first, int end, std::int64_t in_flight, bool recompute) const;
  /// An upper bound likewise, without recomputation: `in_flight` micro-batches, all their messages and the most that a
  /// pass needs beside.
  [[nodiscard]] std::int64_t memory_at_most(int share, int first, int end, std::int64_t in_flight,
                                            std::int64_t micro_batches) const;
  /// Bytes that a device of class c has for stages.
  [[nodiscard]] std::int64_t capacity(int c) const { return capacity_[static_cast<std::size_t>(c)]; }
  [[nodiscard]] double usd_per_hour(int c) const { return usd_per_hour_[static_cast<std::size_t>(c)]; }

 private:
  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(layers_) + 1; }
  [[nodiscard]] std::size_t row(int c, int share) const {
    return (static_cast<std::size_t>(c) * request_.shares.size() + static_cast<std::size_t>(share)) * width();
  }
  [[nodiscard]] static double interval(const std::vector<double>& prefix, std::size_t row, int first, int end) {
    return prefix[row + static_cast<std::size_t>(end)] - prefix[row + static_cast<std::size_t>(first)];
  }
  [[nodiscard]] std::size_t link(Pass pass, int from, int to, int cut, int wire) const;
  [[nodiscard]] std::size_t end_of_link(Pass pass, int c, int cut, int wire) const;
  [[nodiscard]] double coding(const std::vector<double>& whole, TransferCurve Codec::*side, Pass pass, int c, int cut,
                              std::int64_t samples, int wire) const {
    if (whole.empty()) return 0.0;
    return samples == request_.size ? whole[end_of_link(pass, c, cut, wire)]
                                    : codec_time(side, pass, c, cut, samples, wire);
  }
  [[nodiscard]] double codec_time(TransferCurve Codec::*side, Pass pass, int c, int cut, std::int64_t samples,
                                  int wire) const;
  void add_layers(const ModelProfile& model);
  void add_class(const Profile& profile, const Device& device);
  void add_messages(const std::vector<std::vector<int>>& classes);
  void add_codecs();

  const Profile& profile_;
  TableRequest request_;
  int layers_;
  double overhead_;
  std::vector<double> forward_, backward_, weight_;  // [class][share][layer + 1], prefix sums
  std::vector<double> update_;                       // [class][layer + 1], prefix sums
  std::vector<double> whole_;                        // [pass][wire][class][class][cut], seconds of whole messages
  std::vector<double> encoding_, decoding_;          // [pass][wire][class][cut], likewise; empty where none takes time
  std::vector<int> member_, other_member_;           // [class], devices for links; the same where there is only one
  std::vector<std::int64_t> parameters_, resident_;  // [layer + 1], prefix sums
  std::vector<std::int64_t> saved_;                  // [share][layer + 1], prefix sums
  std::vector<std::int64_t> input_;                  // [share][layer], bytes of the boundary before it
  std::vector<std::int64_t> most_peak_;              // [share], the largest peak of any layer and pass
  std::vector<std::int64_t> capacity_;               // [class]
  std::vector<double> usd_per_hour_;                 // [class]
};

}  // namespace motley

#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "motley/base/tensor_spec.h"
#include "motley/base/units.h"
#include "motley/plan/transfer_curve.h"

namespace motley {

/// Times of one layer for one micro-batch of a given size on one device type. Medians.
struct LayerTimes {
  Seconds forward;
  Seconds backward_input;   ///< gradient of the inputs; weight gradients are queued
  Seconds backward_weight;  ///< the queued weight gradients
  Seconds backward;         ///< both, fused
  double spread = 0.0;      ///< inter-quartile range over median, the worst of the four
};

/// Memory of one layer for one micro-batch of a given size. A peak is the most that exists during the pass beyond what
/// the layers before this one have saved of the micro-batch; what the pass is handed counts.
struct LayerMemory {
  Bytes saved;   ///< kept from forward to backward, the layer's own input included where it is kept
  Bytes queued;  ///< kept from backward_input to backward_weight
  Bytes forward_peak;
  Bytes backward_input_peak;
  Bytes backward_weight_peak;
  Bytes backward_peak;
};

/// What does not depend on the device.
struct LayerProfile {
  std::string name;
  Bytes parameters;                 ///< weights as trained
  Bytes optimizer_state;            ///< moments and master weights; gradients are counted apart and equal `parameters`
  Boundary output;                  ///< what it hands to the next layer; empty for the last one
  std::vector<LayerMemory> memory;  ///< one per ModelProfile::micro_batch_sizes
};

/// Every layer's times on one device type.
struct DeviceTimes {
  std::vector<std::vector<LayerTimes>> by_size;  ///< [micro-batch size][layer]
  std::vector<Seconds> update;                   ///< [layer]: optimiser step, clip norm included
};

/// What a message of a wire format takes from its sender's and from its receiver's computing, by its bytes in float32:
/// encoding and decoding, and on a host whose cores all compute, moving it.
struct Codec {
  TransferCurve encode;
  TransferCurve decode;
};

/// What a device gains after a pause: it computes `speed_up` times as fast as its busy times say until it is `credit`
/// ahead of them, and earns as much as the pause lasts, up to `credit` (a token bucket). So does a share of a processor
/// that is limited by a quota: what it has not used of the running period comes at full speed.
struct Burst {
  Seconds credit;         ///< 0: none
  double speed_up = 1.0;  ///< at least 1

  /// How much less than `work` at busy speed it takes with `earned` of the credit left.
  [[nodiscard]] Seconds gain(Seconds work, Seconds earned) const {
    return std::min(earned, work * (1.0 - 1.0 / speed_up));
  }
};

/// One device type alone and with every rank of the run busy. Plans that use more than one device use `busy`.
struct DeviceTable {
  DeviceTimes alone;
  DeviceTimes busy;
  std::map<std::string, Codec> codecs = {};  ///< by wire format; one that is not here takes no time
  std::vector<std::string> lacks = {};       ///< wire formats that it cannot encode: a GPU without kernels of ours
  Burst burst = {};

  [[nodiscard]] bool can_encode(const std::string& wire) const;
};

/// A number of samples among the measured micro-batch sizes: on the straight line from size `low` to size `high`, at
/// `share` of the way; low = high and share = 0 where it was measured itself.
struct BetweenSizes {
  std::size_t low = 0;
  std::size_t high = 0;
  double share = 0.0;

  [[nodiscard]] Seconds of(Seconds at_low, Seconds at_high) const {
    return share == 0.0 ? at_low : at_low + (at_high - at_low) * share;
  }
  /// Rounded up.
  [[nodiscard]] Bytes of(Bytes at_low, Bytes at_high) const;
};

/// A model as the planner sees it: an ordered chain of layers with boundaries, memory and times per device type.
struct ModelProfile {
  std::string name;
  std::vector<LayerProfile> layers;
  Bytes base_memory;                            ///< held by every rank whatever its stage: the data
  std::vector<std::int64_t> micro_batch_sizes;  ///< ascending
  std::map<std::string, DeviceTable> devices;   ///< by device type

  /// Index into tables of exactly `size`. Throws InputError naming the sizes there are.
  [[nodiscard]] std::size_t size_index(std::int64_t size) const;

  /// Where `samples` lies. Throws InputError naming the range unless it is within the measured sizes: nothing is
  /// extrapolated.
  [[nodiscard]] BetweenSizes between_sizes(std::int64_t samples) const;

  /// Whether messages of a wire format take time from some device type's computing.
  [[nodiscard]] bool has_codec(const std::string& wire) const;

  /// Whether some device type gains after pauses.
  [[nodiscard]] bool has_bursts() const;

  /// The table of `type`. Throws InputError naming the types there are.
  [[nodiscard]] const DeviceTable& device(const std::string& type) const;
};

}  // namespace motley

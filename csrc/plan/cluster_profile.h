#pragma once

#include <string>
#include <vector>

#include "motley/base/units.h"

namespace motley {

/// Time of a message on a directed link as a function of its size: straight lines between measured points. Below the
/// first point the first time holds; beyond the last the slope of the last two points goes on (a single point: its
/// rate).
class TransferCurve {
 public:
  struct Point {
    Bytes bytes;
    Seconds time;
    friend bool operator==(const Point&, const Point&) = default;
  };

  TransferCurve() = default;
  /// `points` ascending in bytes and non-descending in time, at least one. Throws InputError otherwise.
  explicit TransferCurve(std::vector<Point> points);
  /// latency + bytes / rate.
  TransferCurve(Seconds latency, BytesPerSecond rate);

  /// O(log points). Zero for no bytes.
  [[nodiscard]] Seconds time(Bytes bytes) const;
  [[nodiscard]] const std::vector<Point>& points() const { return points_; }

 private:
  std::vector<Point> points_;
};

/// One rank's device.
struct Device {
  std::string name;  ///< unique, e.g. "rank0"
  std::string host;
  std::string type;  ///< key into ModelProfile::devices
  Bytes memory;      ///< what Motley may use
  double usd_per_hour = 0.0;
};

/// Time of one sum of float32 gradients over a group of devices, by the bytes each of them has.
struct AllReduce {
  std::vector<int> devices;  ///< ascending, at least two
  TransferCurve time;
};

/// Devices and the directed links between them. links[i][j] carries from i to j; the diagonal is unused.
struct ClusterProfile {
  std::vector<Device> devices;
  std::vector<std::vector<TransferCurve>> links;
  std::vector<AllReduce> all_reduce;  ///< of those groups that were measured; may be empty
  Seconds action_overhead;            ///< engine time per action, beside the layers' own
  Seconds norm_exchange;              ///< one all-gather of clip norms over all ranks
  bool emulated = false;              ///< speeds or rates were kept by pacing, so every output says so
  std::string note;                   ///< what a reader must know, e.g. "too noisy: rank 2 spread 14 %"

  [[nodiscard]] int size() const { return static_cast<int>(devices.size()); }
};

}  // namespace motley

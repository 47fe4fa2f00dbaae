#pragma once

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

}  // namespace motley

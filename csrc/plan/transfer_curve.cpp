#include "motley/plan/transfer_curve.h"

#include <algorithm>
#include <cmath>

#include "motley/base/error.h"

namespace motley {

TransferCurve::TransferCurve(std::vector<Point> points) : points_(std::move(points)) {
  if (points_.empty()) {
    throw InputError("transfer curve: found no points, expected at least one");
  }
  for (std::size_t i = 0; i < points_.size(); ++i) {
    if (!std::isfinite(points_[i].time.value) || points_[i].time.value < 0 || points_[i].bytes.value < 0) {
      throw InputError::of("transfer curve: point {} is {} s for {} bytes, expected both finite and not negative", i,
                           points_[i].time.value, points_[i].bytes.value);
    }
    if (i > 0 && (points_[i].bytes <= points_[i - 1].bytes || points_[i].time < points_[i - 1].time)) {
      throw InputError::of("transfer curve: point {} ({} bytes, {} s) must lie right of and not below point {}", i,
                           points_[i].bytes.value, points_[i].time.value, i - 1);
    }
  }
}

TransferCurve::TransferCurve(Seconds latency, BytesPerSecond rate) {
  if (!(rate.value > 0) || !(latency.value >= 0)) {
    throw InputError::of("link: found latency {} s and rate {} B/s, expected latency >= 0 and rate > 0", latency.value,
                         rate.value);
  }
  constexpr Bytes kMegabyte{1'000'000};
  points_ = {{Bytes{0}, latency}, {kMegabyte, latency + kMegabyte / rate}};
}

Seconds TransferCurve::time(Bytes bytes) const {
  MOTLEY_CHECK(!points_.empty(), "an empty transfer curve was asked for a time");
  if (bytes.value <= 0) {
    return {};
  }
  const auto line = [](const Point& a, const Point& b, Bytes at) {
    const double share = static_cast<double>((at - a.bytes).value) / static_cast<double>((b.bytes - a.bytes).value);
    return a.time + (b.time - a.time) * share;
  };
  if (points_.size() == 1) {
    const Point& only = points_.front();
    return bytes <= only.bytes ? only.time
                               : only.time * (static_cast<double>(bytes.value) / static_cast<double>(only.bytes.value));
  }
  if (bytes <= points_.front().bytes) {
    return points_.front().time;
  }
  const auto after = std::lower_bound(points_.begin(), points_.end(), bytes,
                                      [](const Point& point, Bytes value) { return point.bytes < value; });
  if (after == points_.end()) {
    return line(points_[points_.size() - 2], points_.back(), bytes);
  }
  return line(*(after - 1), *after, bytes);
}

}  // namespace motley

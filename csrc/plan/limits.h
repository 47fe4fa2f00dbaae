#pragma once

#include <cstdint>
#include <string>

#include "motley/base/units.h"

namespace motley {

/// The most that one number of a profile, graph or plan may be, so that sums over layers, micro-batches and devices
/// neither overflow nor stop meaning anything.
inline constexpr double kMostSeconds = 1e9;  ///< 32 years
/// Of all layers together: 70 TB, which products with micro-batches in flight still hold.
inline constexpr std::int64_t kMostBytes = std::int64_t{1} << 46;
inline constexpr std::int64_t kMostSamples = std::int64_t{1} << 24;  ///< an iteration

/// Throws InputError saying `where` unless `time` is finite, not negative and at most kMostSeconds.
void check_time(Seconds time, const std::string& where);

/// Adds up bytes, each from 0, to at most kMostBytes.
class ByteSum {
 public:
  /// `source`, `list`: of errors, as in "profile.json" and "model.layers".
  ByteSum(std::string source, std::string list);

  /// Throws InputError where `bytes`, of `item`, are negative or take the sum past kMostBytes.
  void add(Bytes bytes, const std::string& item);

 private:
  std::string source_;
  std::string list_;
  std::int64_t sum_ = 0;
};

}  // namespace motley

#include "motley/plan/model_profile.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "motley/base/error.h"

namespace motley {

std::size_t ModelProfile::size_index(std::int64_t size) const {
  const auto found = std::find(micro_batch_sizes.begin(), micro_batch_sizes.end(), size);
  if (found == micro_batch_sizes.end()) {
    throw InputError::of("profile of {}: micro-batch size {} was not measured, expected one of {}", name, size,
                         fmt::join(micro_batch_sizes, ", "));
  }
  return static_cast<std::size_t>(found - micro_batch_sizes.begin());
}

Bytes BetweenSizes::of(Bytes at_low, Bytes at_high) const {
  if (share == 0.0) {
    return at_low;
  }
  const double more = static_cast<double>((at_high - at_low).value) * share;
  return at_low + Bytes{static_cast<std::int64_t>(std::ceil(more))};
}

BetweenSizes ModelProfile::between_sizes(std::int64_t samples) const {
  const auto above = std::lower_bound(micro_batch_sizes.begin(), micro_batch_sizes.end(), samples);
  if (above == micro_batch_sizes.end() || (*above != samples && above == micro_batch_sizes.begin())) {
    throw InputError::of("profile of {}: {} samples at a time lie outside what was measured, expected {} to {}", name,
                         samples, micro_batch_sizes.front(), micro_batch_sizes.back());
  }
  const auto high = static_cast<std::size_t>(above - micro_batch_sizes.begin());
  if (*above == samples) {
    return {high, high, 0.0};
  }
  const std::int64_t below = micro_batch_sizes[high - 1];
  return {high - 1, high, static_cast<double>(samples - below) / static_cast<double>(*above - below)};
}

bool DeviceTable::can_encode(const std::string& wire) const {
  return std::find(lacks.begin(), lacks.end(), wire) == lacks.end();
}

bool ModelProfile::has_codec(const std::string& wire) const {
  return std::any_of(devices.begin(), devices.end(), [&](const auto& of) { return of.second.codecs.contains(wire); });
}

bool ModelProfile::has_bursts() const {
  return std::any_of(devices.begin(), devices.end(), [](const auto& of) { return of.second.burst.credit > Seconds{}; });
}

const DeviceTable& ModelProfile::device(const std::string& type) const {
  const auto found = devices.find(type);
  if (found == devices.end()) {
    std::vector<std::string> known;
    for (const auto& [other, times] : devices) {
      known.push_back(other);
    }
    throw InputError::of("profile of {}: no times for device type \"{}\", expected one of {}", name, type,
                         fmt::join(known, ", "));
  }
  return found->second;
}

}  // namespace motley

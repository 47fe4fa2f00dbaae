#include "motley/plan/model_profile.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <ranges>

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

const DeviceTable& ModelProfile::device(const std::string& type) const {
  const auto found = devices.find(type);
  if (found == devices.end()) {
    throw InputError::of("profile of {}: no times for device type \"{}\", expected one of {}", name, type,
                         fmt::join(std::views::keys(devices), ", "));
  }
  return found->second;
}

}  // namespace motley

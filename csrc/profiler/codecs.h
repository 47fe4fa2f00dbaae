#pragma once

#include <string>
#include <vector>

#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/plan/model_profile.h"

namespace motley {

/// Seconds that this rank takes to encode and to decode a message, for every wire format that has a codec, in the order
/// of codecs_from(): medians of `repeats` on its device, at the pace of an emulated one. 0 s throughout for a format
/// that the device lacks.
[[nodiscard]] std::vector<double> measure_codecs(ComputeDevice& device, Pacer pacer, int repeats);

/// The tables of what measure_codecs() returned, by wire format; none for those that the device lacks.
[[nodiscard]] std::map<std::string, Codec> codecs_from(const std::vector<double>& seconds);

}  // namespace motley

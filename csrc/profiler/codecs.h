#pragma once

#include <string>
#include <vector>

#include "motley/device/pacing.h"
#include "motley/plan/model_profile.h"

namespace motley {

/// Seconds that this rank takes to encode and to decode a message, for every wire format that has a codec, in the order
/// of codecs_from(): medians of `repeats`, at the pace of an emulated device.
[[nodiscard]] std::vector<double> measure_codecs(Pacer pacer, int repeats);

/// The tables of what measure_codecs() returned, by wire format.
[[nodiscard]] std::map<std::string, Codec> codecs_from(const std::vector<double>& seconds);

}  // namespace motley

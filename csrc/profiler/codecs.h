#pragma once

#include <vector>

#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/plan/model_profile.h"

namespace motley {

/// Seconds that this rank takes to encode and to decode a message, for every wire format that has a codec, in the order
/// that put_codecs() takes: medians of `repeats` on its device, at the pace of an emulated one. 0 s throughout for a
/// format that the device lacks.
[[nodiscard]] std::vector<double> measure_codecs(ComputeDevice& device, Pacer pacer, int repeats);

/// Puts what measure_codecs() returned on each rank of one device type into the type's table: medians, and which
/// formats one of them lacks.
void put_codecs(const std::vector<std::vector<double>>& of_ranks, DeviceTable& table);

}  // namespace motley

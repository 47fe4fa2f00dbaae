#pragma once

#include <cstdint>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/plan/model_profile.h"

namespace motley {

/// Pieces of work of one kind, one after the other, after pauses.
struct PausedWork {
  double share = 1.0;                     ///< of a processor that the thread has when it does not pause
  std::vector<std::vector<double>> ends;  ///< [pause][piece], seconds since the pause ended; one length, at least 4
};

/// How far work after a pause gets ahead of steady work: where the straight line through the later three quarters of
/// the pieces' ends (medians over the pauses) meets no work. Where a thread has all of a processor, or nearly so, there
/// is nothing to gain.
[[nodiscard]] Burst burst_of(const PausedWork& work);

/// What a rank on a host gains after pauses, a few of them for each of `repeats`. None on other devices, where a speed
/// is emulated, and where a thread has a processor to itself, which a third of a second shows. Collective over the
/// world: all ranks pause and compute at the same time, none waits for another meanwhile.
[[nodiscard]] Burst measure_burst(Communicator& communicator, ComputeDevice& device, Pacer pacer, std::int64_t repeats);

}  // namespace motley

#pragma once

#include <memory>
#include <string>

#include "motley/comm/communicator.h"
#include "motley/config/config.h"
#include "motley/device/host_memory.h"
#include "motley/device/pacing.h"
#include "motley/partitioner/search.h"
#include "motley/stage/optimizer.h"
#include "motley/workloads/workload.h"

namespace motley {

/// Options of the other rooms as a configuration means them; the one place that knows both.
[[nodiscard]] OptimizerOptions optimizer_options(const Config& config);
[[nodiscard]] CommOptions comm_options(const Config& config, Seconds deadline);
[[nodiscard]] SearchOptions search_options(const Config& config);
[[nodiscard]] Pacer pacer_of(const Config& config, int rank);
/// Its keys are added to `keys`, if there are any, before its data is read.
[[nodiscard]] Workload workload_of(const Config& config, const WorkloadRegistry& registry,
                                   std::vector<ConfigKey>* keys = nullptr);
/// [train] precision.
[[nodiscard]] DType precision_of(const Config& config);
/// The device that was found, or what [devices] types says, or either with its emulated speed ("cpu@0.4"), of this
/// rank.
[[nodiscard]] std::string device_type_of(const Config& config, int rank, const std::string& found);
/// Throws InputError unless `size` ranks are what [devices] says.
void expect_ranks(const Config& config, int size);
/// One torch thread, a counting allocator with the configured cap.
[[nodiscard]] HostMemory start_device(const Config& config);

}  // namespace motley

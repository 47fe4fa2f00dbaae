#pragma once

#include <filesystem>
#include <map>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/device/pacing.h"
#include "motley/runtime/executor.h"

namespace motley {

/// Forward passes over all of `split` through the pipeline; stage s is on rank `ranks[s]`. The rank of the last stage
/// writes what the last layer put out, one row per sample in the split's order, as safetensors. Collective.
void write_predictions(Communicator& communicator, const Workload& workload, const std::map<int, Stage*>& stages,
                       const std::vector<int>& ranks, const ExecutorOptions& options, Pacer pacer, Split split,
                       const std::filesystem::path& file);

}  // namespace motley

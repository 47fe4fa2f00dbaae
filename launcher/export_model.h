#pragma once

#include <filesystem>

#include "motley/config/config.h"
#include "motley/workloads/workload.h"

namespace motley {

/// Writes what another program needs to use the network that `run` trained: model.safetensors, all parameters as
/// "LAYER.PARAMETER", and model.json: workload, its options as they took effect, layers in order with their parameters,
/// and for a router on a folder of routing data the LLMs with their list prices, in the order of the scores. Throws
/// InputError where `run` has no weights or those of another network.
void write_model(const std::filesystem::path& run, const std::filesystem::path& directory, const Config& config,
                 const Workload& workload, const std::vector<ConfigKey>& options);

}  // namespace motley

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "motley/config/config.h"
#include "motley/stage/stage.h"
#include "motley/workloads/workload.h"

namespace motley {

/// All that decides the losses, for a checkpoint's manifest: a configuration, and of a plan its micro-batch size.
[[nodiscard]] nlohmann::json training_settings(const Config& config, const Workload& workload,
                                               std::int64_t micro_batch_size);

/// Fills `stages` from a checkpoint, or the latest of a folder of them, and returns the step to go on with. Throws
/// InputError when its settings are others, naming each, unless `allow_changes`; when it is of another model, damaged
/// or at its end. Another micro-batch size, which a plan for other devices may well have, is a warning by the rank of
/// the first stage.
[[nodiscard]] std::int64_t resume(const std::filesystem::path& path, const Config& config, const Workload& workload,
                                  std::int64_t micro_batch_size, const std::map<int, Stage*>& stages,
                                  bool allow_changes);

/// Throws InputError when `folder` has checkpoints beyond `step`: of another run, which this one must neither overwrite
/// nor be confused with.
void expect_no_later_checkpoint(const std::filesystem::path& folder, std::int64_t step);

}  // namespace motley

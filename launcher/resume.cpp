#include "motley/launcher/resume.h"

#include <fmt/ranges.h>

#include <sstream>

#include "motley/base/error.h"
#include "motley/base/log.h"
#include "motley/runtime/checkpoint.h"

namespace motley {
namespace {

constexpr const char* kMicroBatchSize = "micro_batch_size";

}  // namespace

nlohmann::json training_settings(const Config& config, const Workload& workload, std::int64_t micro_batch_size) {
  std::ostringstream options;
  options << toml::json_formatter(*config.workload_options);
  const TrainConfig& train = config.train;
  return {{"workload", workload.name},
          {"workload_options", nlohmann::json::parse(options.str())},
          {"layers", workload.layers.size()},
          {kMicroBatchSize, micro_batch_size},
          {"training_samples", workload.data->size(Split::Train)},
          {"train",
           {{"steps", train.steps},
            {"global_batch", train.global_batch},
            {"seed", train.seed},
            {"optimizer", train.optimizer},
            {"learning_rate", train.learning_rate},
            {"weight_decay", train.weight_decay},
            {"beta1", train.beta1},
            {"beta2", train.beta2},
            {"momentum", train.momentum},
            {"clip_norm", train.clip_norm},
            {"warmup_steps", train.warmup_steps},
            {"min_rate_ratio", train.min_rate_ratio},
            {"precision", train.precision}}}};
}

std::int64_t resume(const std::filesystem::path& path, const Config& config, const Workload& workload,
                    std::int64_t micro_batch_size, const std::map<int, Stage*>& stages, bool allow_changes) {
  const Checkpoint checkpoint = read_checkpoint(path);
  nlohmann::json stored = checkpoint.settings;
  const std::int64_t stored_size = stored.value(kMicroBatchSize, micro_batch_size);
  stored[kMicroBatchSize] = micro_batch_size;
  if (stored_size != micro_batch_size && !stages.empty() && stages.begin()->first == 0) {
    spdlog::warn(
        "{}: was trained with micro-batches of {} samples and goes on with {}: losses will not be bit for bit "
        "those of an uninterrupted run; motley plan --micro-batch-size {} keeps them",
        checkpoint.folder.string(), stored_size, micro_batch_size, stored_size);
  }
  const std::vector<std::string> changes = differences(stored, training_settings(config, workload, micro_batch_size));
  if (!changes.empty() && !allow_changes) {
    throw InputError::of("{}: was written with other settings than {} has: {}; --allow-changes goes on all the same",
                         checkpoint.folder.string(), config.source, fmt::join(changes, "; "));
  }
  if (checkpoint.step >= config.train.steps) {
    throw InputError::of("{}: {} steps are done, {} says train.steps = {}", checkpoint.folder.string(), checkpoint.step,
                         config.source, config.train.steps);
  }
  restore(checkpoint, stages);
  return checkpoint.step;
}

void expect_no_later_checkpoint(const std::filesystem::path& folder, std::int64_t step) {
  const std::vector<std::int64_t> steps = checkpoints_in(folder);
  if (!steps.empty() && steps.back() > step) {
    throw InputError::of(
        "{}: has a checkpoint of step {}, this run begins at step {}; expected --resume {}, another --run folder, or "
        "the "
        "old checkpoints out of the way",
        folder.string(), steps.back(), step, folder.string());
  }
}

}  // namespace motley

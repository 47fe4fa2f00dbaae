#include "motley/partitioner/space.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "motley/base/error.h"

namespace motley {

void check_options(const SearchOptions& options) {
  if (options.global_batch < 1) {
    throw InputError::of("global_batch: {} found, at least 1 expected", options.global_batch);
  }
  if (options.max_stages < 0) throw InputError::of("max_stages: {} found, at least 0 expected", options.max_stages);
  if (options.schedules.empty()) throw InputError::of("schedules: none found, 1f1b or gpipe expected");
  for (const std::string& schedule : options.schedules) {
    if (schedule != "1f1b" && schedule != "gpipe") {
      throw InputError::of("schedules: '{}' found, 1f1b or gpipe expected", schedule);
    }
  }
  for (const std::int64_t size : options.micro_batch_sizes) {
    if (size < 1) throw InputError::of("micro_batch_sizes: {} found, at least 1 expected", size);
  }
}

std::vector<std::int64_t> micro_batch_sizes(const ModelProfile& model, const SearchOptions& options) {
  const std::vector<std::int64_t>& asked =
      options.micro_batch_sizes.empty() ? model.micro_batch_sizes : options.micro_batch_sizes;
  std::vector<std::int64_t> sizes;
  for (const std::int64_t size : asked) {
    static_cast<void>(model.size_index(size));
    if (options.global_batch % size == 0) sizes.push_back(size);
  }
  if (sizes.empty()) {
    throw InputError::of("global_batch: {} found, a multiple of one of the micro-batch sizes {} expected",
                         options.global_batch, fmt::join(asked, ", "));
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

int most_stages(const Profile& profile, const SearchOptions& options) {
  const int most = std::min(static_cast<int>(profile.model.layers.size()), profile.cluster.size());
  return options.max_stages > 0 ? std::min(most, options.max_stages) : most;
}

int fewest_stages(const Profile& profile, const SearchOptions& options) {
  const int fewest = options.use_all_devices ? profile.cluster.size() : 1;
  if (fewest > most_stages(profile, options)) {
    throw InputError::of("use_all_devices: {} devices found, at most {} expected for {} layers and max_stages {}",
                         profile.cluster.size(), most_stages(profile, options), profile.model.layers.size(),
                         options.max_stages);
  }
  return fewest;
}

Plan make_plan(std::span<const int> cuts, std::span<const int> devices, std::span<const int> warm_up, std::int64_t size,
               std::int64_t global_batch, const std::string& schedule) {
  MOTLEY_CHECK(cuts.size() == devices.size() + 1 && warm_up.size() == devices.size());
  Plan plan;
  plan.micro_batch_size = size;
  plan.micro_batches = global_batch / size;
  plan.schedule = schedule;
  for (std::size_t s = 0; s < devices.size(); ++s) {
    StagePlan stage;
    stage.first_layer = cuts[s];
    stage.end_layer = cuts[s + 1];
    stage.replicas = {Replica{devices[s], 0, size}};
    stage.warm_up = warm_up[s];
    plan.stages.push_back(std::move(stage));
  }
  return plan;
}

std::vector<int> textbook_warm_up(int stages) {
  std::vector<int> depths(static_cast<std::size_t>(stages));
  for (int s = 0; s < stages; ++s) depths[s] = stages - s;
  return depths;
}

bool is_distinct_warm_up(int next, int extra, std::int64_t micro_batches) {
  return extra == 0 || next + extra < micro_batches;
}

std::vector<std::vector<int>> warm_ups(const std::string& schedule, int stages, std::int64_t micro_batches) {
  if (schedule != "1f1b") return {textbook_warm_up(stages)};
  std::vector<std::vector<int>> all = {{1}};  // from the last stage backwards, turned round at the end
  for (int s = 1; s < stages; ++s) {
    std::vector<std::vector<int>> longer;
    for (const std::vector<int>& depths : all) {
      for (int extra = 0; extra <= kMostExtraWarmUp; ++extra) {
        if (!is_distinct_warm_up(depths.back(), extra, micro_batches)) break;
        longer.push_back(depths);
        longer.back().push_back(depths.back() + 1 + extra);
      }
    }
    all = std::move(longer);
  }
  for (std::vector<int>& depths : all) std::reverse(depths.begin(), depths.end());
  return all;
}

std::string describe_space(const Profile& profile, const SearchOptions& options) {
  const int fewest = fewest_stages(profile, options);
  const int most = most_stages(profile, options);
  return fmt::format(
      "{} to {} contiguous stages of {} layers, one device each, {}; micro-batch sizes {}; schedules {}; warm-up "
      "depths of "
      "1f1b: textbook plus 0 to {} per boundary",
      fewest, most, profile.model.layers.size(),
      options.any_order ? "any choice and order of devices" : "stage s on device s",
      fmt::join(micro_batch_sizes(profile.model, options), ", "), fmt::join(options.schedules, ", "), kMostExtraWarmUp);
}

}  // namespace motley

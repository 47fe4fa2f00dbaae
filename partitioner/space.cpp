#include "motley/partitioner/space.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/plan/features.h"
#include "motley/plan/limits.h"

namespace motley {
namespace {

constexpr std::array<const char*, 4> kSearchedSchedules{"1f1b", "gpipe", "zero-bubble", "interleaved-1f1b"};
/// Most shares of a micro-batch where the options say nothing.
constexpr std::int64_t kMostShares = 8;

bool is_searched_schedule(const std::string& name) {
  return std::find(kSearchedSchedules.begin(), kSearchedSchedules.end(), name) != kSearchedSchedules.end();
}

void check_allow(const SearchOptions& options) {
  for (const std::string& name : options.allow) {
    std::vector<std::string> known(features().begin(), features().end());
    std::erase(known, "listed");
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw InputError::of("allow: found \"{}\", expected {}", name, one_of(name, known));
    }
  }
}

}  // namespace

void check_options(const SearchOptions& options) {
  if (options.global_batch < 1) {
    throw InputError::of("global_batch: {} found, at least 1 expected", options.global_batch);
  }
  if (options.global_batch > kMostSamples) {
    throw InputError::of("global_batch: {} found, at most {} expected", options.global_batch, kMostSamples);
  }
  if (options.max_stages < 0) throw InputError::of("max_stages: {} found, at least 0 expected", options.max_stages);
  if (options.max_replicas < 0) {
    throw InputError::of("max_replicas: {} found, at least 0 expected", options.max_replicas);
  }
  if (options.share_unit < 0) throw InputError::of("share_unit: {} found, at least 0 expected", options.share_unit);
  if (options.max_rounds < 2) throw InputError::of("max_rounds: {} found, at least 2 expected", options.max_rounds);
  if (options.threads < 0) throw InputError::of("threads: {} found, at least 0 expected", options.threads);
  if (!(options.time_limit.value >= 0.0)) {
    throw InputError::of("time_limit: {} s found, at least 0 expected", options.time_limit.value);
  }
  if (!(options.gap >= 0.0)) throw InputError::of("gap: {} found, at least 0 expected", options.gap);
  if (options.schedules.empty()) throw InputError::of("schedules: none found, 1f1b or another expected");
  for (const std::string& schedule : options.schedules) {
    if (!is_searched_schedule(schedule)) {
      throw InputError::of("schedules: found \"{}\", expected {}", schedule,
                           one_of(schedule, {kSearchedSchedules.begin(), kSearchedSchedules.end()}));
    }
  }
  check_allow(options);
  for (const std::int64_t size : options.micro_batch_sizes) {
    if (size < 1) throw InputError::of("micro_batch_sizes: {} found, at least 1 expected", size);
  }
}

Allowed allowed(const SearchOptions& options) {
  const auto has = [&](const char* name) {
    return std::find(options.allow.begin(), options.allow.end(), name) != options.allow.end();
  };
  Allowed result;
  result.replicas = has("replicas");
  result.recompute = has("recompute");
  result.wires = {"float32"};
  for (const char* wire : {"bfloat16", "int8"}) {
    if (has(wire)) result.wires.emplace_back(wire);
  }
  for (const char* schedule : kSearchedSchedules) {
    const auto& asked = options.schedules;
    if (has(schedule) || std::find(asked.begin(), asked.end(), schedule) != asked.end()) {
      result.schedules.emplace_back(schedule);
    }
  }
  return result;
}

std::vector<std::string> one_stage_schedules(const SearchOptions& options) {
  std::vector<std::string> schedules = allowed(options).schedules;
  std::erase(schedules, "interleaved-1f1b");
  return schedules;
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
  const int fewest = options.use_all_devices && !allowed(options).replicas ? profile.cluster.size() : 1;
  if (fewest > most_stages(profile, options)) {
    throw InputError::of("use_all_devices: {} devices found, at most {} expected for {} layers and max_stages {}",
                         profile.cluster.size(), most_stages(profile, options), profile.model.layers.size(),
                         options.max_stages);
  }
  return fewest;
}

std::int64_t share_unit(const SearchOptions& options, std::int64_t size) {
  if (!allowed(options).replicas || options.max_replicas == 1) return 0;
  if (options.share_unit > 0) return size % options.share_unit == 0 ? options.share_unit : 0;
  std::int64_t unit = 1;
  while (size % unit != 0 || size / unit > kMostShares) ++unit;
  return unit;
}

namespace {

/// Adds every way to go on from `crew`, which has `left` samples still to give away.
class CrewLister {
 public:
  CrewLister(const ModelProfile& model, const SearchOptions& options, std::span<const int> available, std::int64_t size,
             std::vector<Crew>& out)
      : available_(available.begin(), available.end()),
        unit_(share_unit(options, size)),
        least_(model.micro_batch_sizes.front()),
        most_(model.micro_batch_sizes.back()),
        replicas_(options.max_replicas > 0 ? static_cast<std::size_t>(options.max_replicas) : available.size() * 1000),
        size_(size),
        out_(out) {}

  void list() {
    if (unit_ > 0) extend(size_);
  }

 private:
  void extend(std::int64_t left) {
    if (left == 0) {
      if (crew_.size() > 1) out_.push_back(crew_);
      if (static_cast<std::int64_t>(out_.size()) > kMostCrews) {
        throw InputError::of(
            "replicas: more than {} ways to share a micro-batch of {} samples found in units of {}; give a larger "
            "share_unit, fewer max_replicas or fewer devices",
            kMostCrews, size_, unit_);
      }
      return;
    }
    if (crew_.size() == replicas_) return;
    for (std::size_t c = 0; c < available_.size(); ++c) {
      if (available_[c] == 0) continue;
      --available_[c];
      for (std::int64_t samples = unit_; samples <= left; samples += unit_) {
        if (samples < least_ || samples > most_) continue;
        crew_.push_back({static_cast<int>(c), samples});
        extend(left - samples);
        crew_.pop_back();
      }
      ++available_[c];
    }
  }

  std::vector<int> available_;
  std::int64_t unit_;
  std::int64_t least_;
  std::int64_t most_;
  std::size_t replicas_;
  std::int64_t size_;
  Crew crew_;
  std::vector<Crew>& out_;
};

}  // namespace

std::vector<Crew> crews(const ModelProfile& model, const SearchOptions& options, std::span<const int> available,
                        std::int64_t size) {
  std::vector<Crew> all;
  for (std::size_t c = 0; c < available.size(); ++c) {
    if (available[c] > 0) all.push_back({{static_cast<int>(c), size}});
  }
  CrewLister(model, options, available, size, all).list();
  return all;
}

bool can_interleave(int groups, std::int64_t micro_batches) {
  return micro_batches % std::max<std::int64_t>(1, micro_batches / groups) == 0;
}

Plan make_plan(std::span<const StageChoice> stages, std::int64_t size, std::int64_t global_batch,
               const std::string& schedule) {
  Plan plan;
  plan.micro_batch_size = size;
  plan.micro_batches = global_batch / size;
  plan.schedule = schedule;
  int first = 0;
  for (const StageChoice& choice : stages) {
    StagePlan stage;
    stage.first_layer = first;
    stage.end_layer = first = choice.end;
    std::int64_t sample = 0;
    for (const Seat& seat : choice.crew) {
      stage.replicas.push_back({seat.device, sample, sample + seat.samples});
      sample += seat.samples;
    }
    stage.warm_up = choice.warm_up;
    stage.recompute = choice.recompute;
    if (&choice != &stages.back()) stage.wire = choice.wire;
    plan.stages.push_back(std::move(stage));
  }
  return plan;
}

Plan make_plan(std::span<const int> cuts, std::span<const int> devices, std::span<const int> warm_up, std::int64_t size,
               std::int64_t global_batch, const std::string& schedule) {
  MOTLEY_CHECK(cuts.size() == devices.size() + 1 && warm_up.size() == devices.size());
  std::vector<StageChoice> stages;
  for (std::size_t s = 0; s < devices.size(); ++s) {
    stages.push_back({cuts[s + 1], {{devices[s], size}}, warm_up[s], false, "float32"});
  }
  return make_plan(stages, size, global_batch, schedule);
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
  if (schedule != "1f1b" && schedule != "zero-bubble") return {textbook_warm_up(stages)};
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

BoundSpace asked_space(const SearchOptions& options) {
  BoundSpace asked;
  asked.global_batch = options.global_batch;
  asked.micro_batch_sizes = options.micro_batch_sizes;
  asked.schedules = options.schedules;
  asked.allow = options.allow;
  asked.clip = options.clip;
  asked.max_stages = options.max_stages;
  asked.use_all_devices = options.use_all_devices;
  asked.any_order = options.any_order;
  asked.max_replicas = options.max_replicas;
  asked.share_unit = options.share_unit;
  asked.max_rounds = options.max_rounds;
  return asked;
}

std::string describe_space(const Profile& profile, const SearchOptions& options) {
  const Allowed may = allowed(options);
  const int fewest = fewest_stages(profile, options);
  const int most = most_stages(profile, options);
  const std::vector<std::int64_t> sizes = micro_batch_sizes(profile.model, options);
  std::string text =
      fmt::format("{} to {} contiguous stages of {} layers, ", fewest, most, profile.model.layers.size());
  if (may.replicas) {
    std::vector<std::int64_t> units;
    for (const std::int64_t size : sizes) units.push_back(share_unit(options, size));
    text += fmt::format("one device each or {} with shares in units of {} samples (0: one device), ",
                        options.max_replicas > 0 ? fmt::format("up to {}", options.max_replicas) : "several",
                        fmt::join(units, ", "));
  } else {
    text += "one device each, ";
  }
  text += fmt::format(
      "{}; micro-batch sizes {}; schedules {}; warm-up depths of 1f1b{}: textbook plus 0 to {} per boundary",
      options.any_order ? "any choice and order of devices" : "devices in their order", fmt::join(sizes, ", "),
      fmt::join(may.schedules, ", "),
      std::find(may.schedules.begin(), may.schedules.end(), "zero-bubble") == may.schedules.end() ? ""
                                                                                                  : " and zero-bubble",
      kMostExtraWarmUp);
  if (std::find(may.schedules.begin(), may.schedules.end(), "interleaved-1f1b") != may.schedules.end()) {
    text += fmt::format("; interleaved-1f1b with 2 to {} rounds", options.max_rounds);
  }
  if (may.recompute) text += "; recomputation by stage";
  if (may.wires.size() > 1) text += fmt::format("; wire formats {} by edge", fmt::join(may.wires, ", "));
  return text;
}

}  // namespace motley

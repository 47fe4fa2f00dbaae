#include "motley/config/config.h"

#include <limits>

#include "motley/base/file.h"
#include "motley/config/table_reader.h"

namespace motley {
namespace {

constexpr std::int64_t kNoLimit = 1'000'000'000;

TrainConfig read_train(TableReader reader) {
  TrainConfig c;
  c.steps = reader.integer("steps", c.steps, 1, kNoLimit);
  c.global_batch = reader.integer("global_batch", c.global_batch, 1, kNoLimit);
  c.seed = static_cast<std::uint64_t>(
      reader.integer("seed", static_cast<std::int64_t>(c.seed), 0, std::numeric_limits<std::int64_t>::max()));
  c.optimizer = reader.text("optimizer", c.optimizer);
  c.learning_rate = reader.number("learning_rate", c.learning_rate, 0.0, 1e3);
  c.weight_decay = reader.number("weight_decay", c.weight_decay, 0.0, 1e3);
  c.beta1 = reader.number("beta1", c.beta1, 0.0, 0.999999);
  c.beta2 = reader.number("beta2", c.beta2, 0.0, 0.999999);
  c.momentum = reader.number("momentum", c.momentum, 0.0, 1.0);
  c.clip_norm = reader.number("clip_norm", c.clip_norm, 0.0, 1e9);
  c.warmup_steps = reader.integer("warmup_steps", c.warmup_steps, 0, kNoLimit);
  c.min_rate_ratio = reader.number("min_rate_ratio", c.min_rate_ratio, 0.0, 1.0);
  reader.finish();
  return c;
}

ProfileConfig read_profile_table(TableReader reader, const std::string& source) {
  ProfileConfig c;
  c.micro_batch_sizes = reader.integers("micro_batch_sizes", c.micro_batch_sizes);
  if (c.micro_batch_sizes.empty()) {
    throw InputError::of("{}: profile.micro_batch_sizes: found none, expected at least one", source);
  }
  for (std::size_t i = 0; i < c.micro_batch_sizes.size(); ++i) {
    if (c.micro_batch_sizes[i] < 1 || (i > 0 && c.micro_batch_sizes[i] <= c.micro_batch_sizes[i - 1])) {
      throw InputError::of("{}: profile.micro_batch_sizes[{}]: found {}, expected positive sizes in ascending order",
                           source, i, c.micro_batch_sizes[i]);
    }
  }
  c.repeats = reader.integer("repeats", c.repeats, 3, 1000);
  c.noise_limit = reader.number("noise_limit", c.noise_limit, 0.001, 10.0);
  c.deadline.value = reader.number("deadline_s", c.deadline.value, 0.1, 86400.0);
  reader.finish();
  return c;
}

PlanConfig read_plan_table(TableReader reader) {
  PlanConfig c;
  c.planner = reader.text("planner", c.planner);
  c.schedules = reader.texts("schedules", c.schedules);
  reader.finish();
  return c;
}

CommConfig read_comm(TableReader reader) {
  CommConfig c;
  c.transport = reader.text("transport", c.transport);
  c.deadline.value = reader.number("deadline_s", c.deadline.value, 0.1, 86400.0);
  reader.finish();
  return c;
}

DevicesConfig read_devices(TableReader reader, const std::string& source) {
  DevicesConfig c;
  c.ranks = static_cast<int>(reader.integer("ranks", c.ranks, 1, 4096));
  c.memory_mb = reader.integer("memory_mb", c.memory_mb, 1, kNoLimit);
  c.speeds = reader.numbers("speeds", c.speeds);
  if (!c.speeds.empty() && c.speeds.size() != static_cast<std::size_t>(c.ranks)) {
    throw InputError::of("{}: devices.speeds: found {} entries, expected {} (one a rank) or none", source,
                         c.speeds.size(), c.ranks);
  }
  for (const double speed : c.speeds) {
    if (!(speed > 0.0 && speed <= 1.0)) {
      throw InputError::of("{}: devices.speeds: found {}, expected shares of a core above 0 and at most 1", source,
                           speed);
    }
  }
  c.link_mbit = reader.number("link_mbit", c.link_mbit, 0.0, 1e9);
  c.link_latency_ms = reader.number("link_latency_ms", c.link_latency_ms, 0.0, 1e6);
  reader.finish();
  return c;
}

CheckpointConfig read_checkpoint_table(TableReader reader) {
  CheckpointConfig c;
  c.every = reader.integer("every", c.every, 0, kNoLimit);
  c.keep = reader.integer("keep", c.keep, 1, kNoLimit);
  reader.finish();
  return c;
}

CompareConfig read_compare(TableReader reader) {
  CompareConfig c;
  c.planners = reader.texts("planners", c.planners);
  c.steps = reader.integer("steps", c.steps, 1, kNoLimit);
  reader.finish();
  return c;
}

}  // namespace

Config parse_config(std::string_view text, const std::string& source) {
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    throw InputError::of("{}:{}: not valid TOML: {}", source, error.source().begin.line, error.description());
  }
  Config config;
  config.source = source;
  TableReader reader(root, source, "");
  static const toml::table kEmpty;
  const auto sub = [&](const std::string& key) {
    const toml::table* table = reader.table(key);
    return TableReader(table != nullptr ? *table : kEmpty, source, key);
  };
  config.run_directory = reader.text("run_directory", config.run_directory.string());
  config.workload = reader.text("workload", config.workload);
  if (const toml::table* options = reader.table("workload_options")) {
    config.workload_options = *options;
  }
  config.train = read_train(sub("train"));
  config.profile = read_profile_table(sub("profile"), source);
  config.plan = read_plan_table(sub("plan"));
  config.comm = read_comm(sub("comm"));
  config.devices = read_devices(sub("devices"), source);
  config.checkpoint = read_checkpoint_table(sub("checkpoint"));
  config.compare = read_compare(sub("compare"));
  reader.finish();
  return config;
}

Config read_config(const std::filesystem::path& file) {
  const std::string text = read_text(file, "a TOML configuration");
  return parse_config(text, file.string());
}

}  // namespace motley

#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/config/table_reader.h"

namespace motley {

/// [train]. What a key means and may be stands where config.cpp reads it; `motley config` prints it.
struct TrainConfig {
  std::int64_t steps = 100;
  std::int64_t global_batch = 256;
  std::uint64_t seed = 1;
  std::string optimizer = "adamw";
  double learning_rate = 1e-3;
  double weight_decay = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double momentum = 0.0;
  double clip_norm = 1.0;
  std::int64_t warmup_steps = 0;
  double min_rate_ratio = 0.0;
  std::string precision = "float32";
  bool deterministic = true;
};

/// [profile]
struct ProfileConfig {
  std::vector<std::int64_t> micro_batch_sizes = {8, 16, 32, 64};
  std::int64_t repeats = 7;
  double noise_limit = 0.15;
  Seconds deadline{300.0};
};

/// [plan]
struct PlanConfig {
  std::string planner = "exact";
  std::vector<std::string> schedules = {"1f1b"};
};

/// [comm]
struct CommConfig {
  std::string transport = "tcp";
  std::string gpu_transport = "auto";
  Seconds deadline{10.0};
};

/// [devices]: what each rank is. Empty lists: the machine as it is.
struct DevicesConfig {
  int ranks = 1;
  std::string device = "cpu";
  std::int64_t memory_mb = 2048;
  std::vector<double> speeds;
  std::vector<std::string> types;
  double link_mbit = 0.0;
  double link_latency_ms = 0.0;
  [[nodiscard]] bool emulated() const { return !speeds.empty() || link_mbit > 0; }
};

/// [checkpoint]
struct CheckpointConfig {
  std::int64_t every = 0;
  std::int64_t keep = 2;
};

/// [compare]: what `motley run` measures beside the plan.
struct CompareConfig {
  std::vector<std::string> planners;
  std::int64_t steps = 8;
};

/// A whole TOML configuration. Unknown keys are refused.
struct Config {
  std::string source;
  std::filesystem::path run_directory = "run";
  std::string workload = "router";
  /// [workload_options]'s keys, read by the workload itself. Shared: a copy of a table forgets its lines.
  std::shared_ptr<const toml::table> workload_options;
  TrainConfig train;
  ProfileConfig profile;
  PlanConfig plan;
  CommConfig comm;
  DevicesConfig devices;
  CheckpointConfig checkpoint;
  CompareConfig compare;
  std::vector<ConfigKey> keys;  ///< all of them but the workload's, in the order they are read
};

/// `assignments` are TOML, "train.steps = 100" (a value that is not TOML is taken for a string), and overrule the text.
/// Throws InputError naming file and line or assignment, key, what was found and what was expected.
[[nodiscard]] Config read_config(const std::filesystem::path& file, const std::vector<std::string>& assignments = {});
[[nodiscard]] Config parse_config(std::string_view text, const std::string& source,
                                  const std::vector<std::string>& assignments = {});

}  // namespace motley

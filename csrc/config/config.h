#pragma once

#include <toml++/toml.h>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "motley/base/units.h"

namespace motley {

/// [train]
struct TrainConfig {
  std::int64_t steps = 100;         ///< optimiser steps
  std::int64_t global_batch = 256;  ///< samples a step
  std::uint64_t seed = 1;           ///< of weights, data order and dropout
  std::string optimizer = "adamw";  ///< "adamw" or "sgd"
  double learning_rate = 1e-3;
  double weight_decay = 0.01;
  double beta1 = 0.9;      ///< adamw only, of the mean
  double beta2 = 0.999;    ///< adamw only, of the mean square
  double momentum = 0.0;   ///< sgd only
  double clip_norm = 1.0;  ///< of the whole model's gradient; 0: no clipping
  std::int64_t warmup_steps = 0;
  double min_rate_ratio = 0.0;  ///< cosine decay ends at this share of the rate
};

/// [profile]
struct ProfileConfig {
  std::vector<std::int64_t> micro_batch_sizes = {8, 16, 32, 64};
  std::int64_t repeats = 7;   ///< timed repeats per layer and size; medians are kept
  double noise_limit = 0.15;  ///< a layer whose spread exceeds this is measured again, then reported
  Seconds deadline{300.0};    ///< no wait while profiling is longer: ranks wait while another measures alone
};

/// [plan]
struct PlanConfig {
  std::string planner = "exact";
  std::vector<std::string> schedules = {"1f1b"};
};

/// [comm]
struct CommConfig {
  std::string transport = "tcp";  ///< "tcp" or "mpi"
  Seconds deadline{10.0};         ///< no wait is longer
};

/// [devices]: what each rank is. Empty lists: the machine as it is.
struct DevicesConfig {
  int ranks = 1;
  std::int64_t memory_mb = 2048;  ///< cap of each rank's allocator
  std::vector<double> speeds;     ///< emulated share of a core for each rank; empty: not emulated
  double link_mbit = 0.0;         ///< emulated rate of every directed link; 0: as it is
  double link_latency_ms = 0.0;   ///< emulated latency, with link_mbit
  [[nodiscard]] bool emulated() const { return !speeds.empty() || link_mbit > 0; }
};

/// [checkpoint]
struct CheckpointConfig {
  std::int64_t every = 0;  ///< steps between checkpoints; 0: none but the one of an orderly stop
  std::int64_t keep = 2;   ///< complete ones that stay
};

/// [compare]: what `motley run` measures beside the plan.
struct CompareConfig {
  std::vector<std::string> planners;  ///< e.g. ["uniform", "single"]: trained for `steps`, losses compared
  std::int64_t steps = 8;
};

/// A whole TOML configuration. Unknown keys are refused.
struct Config {
  std::string source;
  std::filesystem::path run_directory = "run";
  std::string workload = "router";
  toml::table workload_options;  ///< [workload_options]'s keys, read by the workload itself
  TrainConfig train;
  ProfileConfig profile;
  PlanConfig plan;
  CommConfig comm;
  DevicesConfig devices;
  CheckpointConfig checkpoint;
  CompareConfig compare;
};

/// Throws InputError naming file, line and key, what was found and what was expected.
[[nodiscard]] Config read_config(const std::filesystem::path& file);
[[nodiscard]] Config parse_config(std::string_view text, const std::string& source);

}  // namespace motley

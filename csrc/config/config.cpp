#include "motley/config/config.h"

#include <limits>
#include <sstream>

#include "motley/base/file.h"
#include "motley/config/table_reader.h"

namespace motley {
namespace {

constexpr std::int64_t kNoLimit = 1'000'000'000;

TrainConfig read_train(TableReader reader) {
  TrainConfig c;
  c.steps = reader.integer("steps", c.steps, 1, kNoLimit, "optimiser steps");
  c.global_batch = reader.integer("global_batch", c.global_batch, 1, kNoLimit, "samples a step");
  c.seed = static_cast<std::uint64_t>(reader.integer("seed", static_cast<std::int64_t>(c.seed), 0,
                                                     std::numeric_limits<std::int64_t>::max(),
                                                     "of weights, data order and dropout"));
  c.optimizer = reader.choice("optimizer", c.optimizer, {"adamw", "sgd"}, "update rule");
  c.learning_rate = reader.number("learning_rate", c.learning_rate, 0.0, 1e3, "after warm-up, before decay");
  c.weight_decay = reader.number("weight_decay", c.weight_decay, 0.0, 1e3, "decoupled for adamw, L2 for sgd");
  c.beta1 = reader.number("beta1", c.beta1, 0.0, 0.999999, "adamw only, of the mean");
  c.beta2 = reader.number("beta2", c.beta2, 0.0, 0.999999, "adamw only, of the mean square");
  c.momentum = reader.number("momentum", c.momentum, 0.0, 1.0, "sgd only");
  c.clip_norm = reader.number("clip_norm", c.clip_norm, 0.0, 1e9, "of the whole model's gradient; 0: no clipping");
  c.warmup_steps = reader.integer("warmup_steps", c.warmup_steps, 0, kNoLimit, "steps of linear warm-up");
  c.precision = reader.choice("precision", c.precision, {"float32", "bfloat16"},
                              "of weights and activations; bfloat16 keeps float32 weights for the optimiser");
  c.deterministic = reader.boolean("deterministic", c.deterministic,
                                   "losses on GPUs are the same bits each time; false where a layer has no such way");
  c.min_rate_ratio =
      reader.number("min_rate_ratio", c.min_rate_ratio, 0.0, 1.0, "cosine decay ends at this share of the rate");
  reader.finish();
  return c;
}

ProfileConfig read_profile_table(TableReader reader, const std::string& source) {
  ProfileConfig c;
  c.micro_batch_sizes = reader.integers("micro_batch_sizes", c.micro_batch_sizes,
                                        "samples in a micro-batch, measured and planned with, ascending");
  if (c.micro_batch_sizes.empty()) {
    throw InputError::of("{}: profile.micro_batch_sizes: found none, expected at least one", source);
  }
  for (std::size_t i = 0; i < c.micro_batch_sizes.size(); ++i) {
    if (c.micro_batch_sizes[i] < 1 || (i > 0 && c.micro_batch_sizes[i] <= c.micro_batch_sizes[i - 1])) {
      throw InputError::of("{}: profile.micro_batch_sizes[{}]: found {}, expected positive sizes in ascending order",
                           source, i, c.micro_batch_sizes[i]);
    }
  }
  c.repeats = reader.integer("repeats", c.repeats, 3, 1000, "timed repeats per layer and size; medians are kept");
  c.noise_limit = reader.number("noise_limit", c.noise_limit, 0.001, 10.0,
                                "a layer whose relative spread exceeds this is measured again, then reported");
  c.deadline.value = reader.number("deadline_s", c.deadline.value, 0.1, 86400.0,
                                   "no wait while profiling is longer: ranks wait while another measures alone");
  reader.finish();
  return c;
}

PlanConfig read_plan_table(TableReader reader) {
  PlanConfig c;
  c.planner = reader.text("planner", c.planner, "by name; motley plan --help lists them");
  c.schedules = reader.texts("schedules", c.schedules, "tried by the planner: \"1f1b\", \"gpipe\"");
  reader.finish();
  return c;
}

CommConfig read_comm(TableReader reader) {
  CommConfig c;
  c.transport = reader.choice("transport", c.transport, {"tcp", "mpi"}, "of tensors between ranks");
  c.gpu_transport = reader.choice("gpu_transport", c.gpu_transport, {"auto", "nccl", "host"},
                                  "between GPUs: NCCL where it can, NCCL or no run, or by way of the host's transport");
  c.deadline.value =
      reader.number("deadline_s", c.deadline.value, 0.1, 86400.0, "no wait is longer; a silent rank ends the run");
  reader.finish();
  return c;
}

DevicesConfig read_devices(TableReader reader, const std::string& source) {
  DevicesConfig c;
  c.ranks = static_cast<int>(reader.integer("ranks", c.ranks, 1, 4096, "processes, one a device"));
  c.device = reader.choice("device", c.device, {"cpu", "cuda", "auto"},
                           "what ranks compute on; auto: a GPU where a rank's host has one");
  c.memory_mb = reader.integer("memory_mb", c.memory_mb, 1, kNoLimit, "cap of each rank's allocator");
  c.speeds = reader.numbers("speeds", c.speeds, "emulated share of a core for each rank; empty: not emulated");
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
  c.types = reader.texts("types", c.types,
                         "device type of each rank; those of one type are measured as one; empty: all are of one type");
  if (!c.types.empty() && c.types.size() != static_cast<std::size_t>(c.ranks)) {
    throw InputError::of("{}: devices.types: found {} entries, expected {} (one a rank) or none", source,
                         c.types.size(), c.ranks);
  }
  c.link_mbit =
      reader.number("link_mbit", c.link_mbit, 0.0, 1e9, "emulated rate of every directed link, Mbit/s; 0: as it is");
  c.link_latency_ms = reader.number("link_latency_ms", c.link_latency_ms, 0.0, 1e6, "emulated, with link_mbit");
  reader.finish();
  return c;
}

CheckpointConfig read_checkpoint_table(TableReader reader) {
  CheckpointConfig c;
  c.every = reader.integer("every", c.every, 0, kNoLimit,
                           "steps between checkpoints; 0: none but the one of an orderly stop");
  c.keep = reader.integer("keep", c.keep, 1, kNoLimit, "complete checkpoints that stay");
  reader.finish();
  return c;
}

CompareConfig read_compare(TableReader reader) {
  CompareConfig c;
  c.planners = reader.texts("planners", c.planners, "motley run trains their plans too and compares the losses");
  c.steps = reader.integer("steps", c.steps, 1, kNoLimit, "of each of them");
  reader.finish();
  return c;
}

toml::table parsed(std::string_view text, const std::string& source) {
  try {
    return toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    throw InputError::of("{}:{}: not valid TOML: {}", source, error.source().begin.line, error.description());
  }
}

/// `over`'s values replace `base`'s, tables are joined.
void overrule(toml::table& base, toml::table&& over) {
  for (auto&& [key, node] : over) {
    toml::table* inner = node.as_table();
    toml::node* present = base.get(key);
    if (inner != nullptr && present != nullptr && present->is_table()) {
      overrule(*present->as_table(), std::move(*inner));
    } else {
      node.visit([&, name = key.str()](auto& value) { base.insert_or_assign(name, std::move(value)); });
    }
  }
}

toml::table parsed_assignment(const std::string& assignment) {
  const std::string source = "--set " + assignment;
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw InputError::of("--set {}: expected KEY=VALUE, for example train.steps=100", assignment);
  }
  try {
    return toml::parse(assignment, source);
  } catch (const toml::parse_error&) {
    const std::string key = assignment.substr(0, equals);
    std::ostringstream quoted;
    quoted << toml::value(assignment.substr(equals + 1));
    try {
      return toml::parse(key + " = " + quoted.str(), source);
    } catch (const toml::parse_error& error) {
      throw InputError::of("{}: not KEY=VALUE in TOML: {}", source, error.description());
    }
  }
}

}  // namespace

Config parse_config(std::string_view text, const std::string& source, const std::vector<std::string>& assignments) {
  toml::table root = parsed(text, source);
  for (const std::string& assignment : assignments) {
    overrule(root, parsed_assignment(assignment));
  }
  Config config;
  config.source = source;
  TableReader reader(root, source, "", &config.keys);
  static const toml::table kEmpty;
  const auto sub = [&](const std::string& key) {
    const toml::table* table = reader.table(key);
    return TableReader(table != nullptr ? *table : kEmpty, source, key, &config.keys);
  };
  config.run_directory = reader.text("run_directory", config.run_directory.string(), "where a run's files go");
  config.workload = reader.text("workload", config.workload, "the model and its data, by name");
  config.train = read_train(sub("train"));
  config.profile = read_profile_table(sub("profile"), source);
  config.plan = read_plan_table(sub("plan"));
  config.comm = read_comm(sub("comm"));
  config.devices = read_devices(sub("devices"), source);
  config.checkpoint = read_checkpoint_table(sub("checkpoint"));
  config.compare = read_compare(sub("compare"));
  const bool options = reader.table("workload_options") != nullptr;
  reader.finish();
  config.workload_options =
      std::make_shared<toml::table>(options ? std::move(*root["workload_options"].as_table()) : toml::table{});
  return config;
}

Config read_config(const std::filesystem::path& file, const std::vector<std::string>& assignments) {
  const std::string text = read_text(file, "a TOML configuration");
  return parse_config(text, file.string(), assignments);
}

}  // namespace motley

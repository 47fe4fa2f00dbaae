#include "motley/launcher/context.h"

#include <ATen/Parallel.h>

#include "motley/base/error.h"

namespace motley {

OptimizerOptions optimizer_options(const Config& config) {
  OptimizerOptions options;
  options.name = config.train.optimizer;
  options.learning_rate = config.train.learning_rate;
  options.weight_decay = config.train.weight_decay;
  options.beta1 = config.train.beta1;
  options.beta2 = config.train.beta2;
  options.momentum = config.train.momentum;
  options.clip_norm = config.train.clip_norm;
  options.warmup_steps = config.train.warmup_steps;
  options.total_steps = config.train.steps;
  options.min_ratio = config.train.min_rate_ratio;
  options.parameters = precision_of(config);
  return options;
}

CommOptions comm_options(const Config& config, Seconds deadline) {
  CommOptions options;
  options.transport = config.comm.transport;
  options.deadline = deadline;
  options.silence = config.comm.deadline;
  if (config.devices.link_mbit > 0.0) {
    for (int from = 0; from < config.devices.ranks; ++from) {
      for (int to = 0; to < config.devices.ranks; ++to) {
        if (from != to) {
          options.emulated_links.push_back({from, to, BytesPerSecond{config.devices.link_mbit * 1e6 / 8.0},
                                            Seconds{config.devices.link_latency_ms * 1e-3}});
        }
      }
    }
  }
  return options;
}

SearchOptions search_options(const Config& config) {
  SearchOptions options;
  options.global_batch = config.train.global_batch;
  options.schedules = config.plan.schedules;
  options.clip = true;  // the exchange of norms carries the loss as well
  return options;
}

Pacer pacer_of(const Config& config, int rank) {
  return config.devices.speeds.empty() ? Pacer() : Pacer(config.devices.speeds.at(static_cast<std::size_t>(rank)));
}

Workload workload_of(const Config& config, const WorkloadRegistry& registry, std::vector<ConfigKey>* keys) {
  Workload workload =
      registry.make({config.workload, config.workload_options, {}, config.source, keys, precision_of(config)});
  if (precision_of(config) != DType::Float32) {
    for (const Boundary& boundary : boundaries_of(workload)) {
      for (const TensorSpec& spec : boundary) {
        if (spec.has_gradient && spec.dtype != precision_of(config)) {
          throw InputError::of("{}: train.precision: found \"{}\", but workload {} hands on {} as {}", config.source,
                               config.train.precision, config.workload, spec.name, name_of(spec.dtype));
        }
      }
    }
  }
  return workload;
}

DType precision_of(const Config& config) {
  return dtype_by_name(config.train.precision).value();
}

std::string device_type_of(const Config& config, int rank, const std::string& found) {
  const auto index = static_cast<std::size_t>(rank);
  const std::string type = config.devices.types.empty() ? found : config.devices.types.at(index);
  return config.devices.speeds.empty() ? type : fmt::format("{}@{:g}", type, config.devices.speeds.at(index));
}

void expect_ranks(const Config& config, int size) {
  if (config.devices.ranks != size) {
    throw InputError::of("{}: devices.ranks: found {}, but mpirun started {} ranks; expected the same", config.source,
                         config.devices.ranks, size);
  }
}

HostMemory start_device(const Config& config) {
  at::set_num_threads(1);
  return HostMemory::install(Bytes{config.devices.memory_mb * 1'000'000});
}

}  // namespace motley

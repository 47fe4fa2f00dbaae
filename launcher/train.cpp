#include <ATen/ATen.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "motley/base/log.h"
#include "motley/comm/signals.h"
#include "motley/launcher/context.h"
#include "motley/launcher/options.h"
#include "motley/plan/files.h"
#include "motley/record/json_lines.h"
#include "motley/record/safetensors.h"
#include "motley/runtime/executor.h"
#include "motley/runtime/weights.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

constexpr int kEvaluationMicroBatches = 8;

/// Device of each stage; what this engine cannot run yet is refused by name.
std::vector<int> devices_of(const Plan& plan, const std::string& source) {
  std::vector<int> devices;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    if (stage.replicas.size() != 1) {
      throw InputError::of("{}: stages[{}]: found {} replicas, this engine runs one device a stage", source, s,
                           stage.replicas.size());
    }
    if (stage.recompute || stage.wire != "float32") {
      throw InputError::of("{}: stages[{}]: found {}, this engine runs stages without recomputation and float32 edges",
                           source, s, stage.recompute ? "recompute" : "wire " + stage.wire);
    }
    devices.push_back(stage.replicas.front().device);
  }
  return devices;
}

std::vector<double> gather(Communicator& communicator, double value, std::string_view label) {
  std::vector<double> all(static_cast<std::size_t>(communicator.size()));
  communicator.world().all_gather(std::as_bytes(std::span(&value, 1)), std::as_writable_bytes(std::span(all)), label);
  return all;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0.0 : values[values.size() / 2];
}

/// Forward passes over a whole split; the rank of the last stage writes what the last layer put out.
void write_predictions(Communicator& communicator, const Workload& workload, const std::map<int, Stage*>& stages,
                       const Plan& plan, const std::vector<int>& devices, const ExecutorOptions& options, Pacer pacer,
                       Split split, const std::filesystem::path& file) {
  const Schedule forwards =
      add_transfers(place(forward_only(plan.stage_count(), kEvaluationMicroBatches), devices, communicator.size()));
  Executor executor(communicator, workload, stages, forwards, options, pacer);
  const std::int64_t size = workload.data->size(split);
  const std::int64_t chunk = plan.micro_batch_size * kEvaluationMicroBatches;
  Fields all;
  for (std::int64_t begin = 0; begin < size; begin += chunk) {
    std::vector<std::int64_t> samples(static_cast<std::size_t>(chunk));
    for (std::int64_t i = 0; i < chunk; ++i) {
      samples[static_cast<std::size_t>(i)] = std::min(begin + i, size - 1);  // the last chunk repeats the last sample
    }
    for (auto& [name, tensor] : executor.evaluate(split, samples)) {
      const at::Tensor kept = tensor.narrow(0, 0, std::min(chunk, size - begin)).to(at::kFloat).contiguous();
      at::Tensor& target = all[name];
      target = target.defined() ? at::cat({target, kept}) : kept;
    }
  }
  if (all.empty()) {
    return;
  }
  std::map<std::string, StoredTensor> stored;
  for (const auto& [name, tensor] : all) {
    stored[name] = {
        DType::Float32, tensor.sizes().vec(), {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()}};
  }
  write_safetensors(file, stored);
}

}  // namespace

int command_train(const Invocation& invocation) {
  po::options_description options("options");
  std::string config_file;
  std::string plan_file;
  std::string profile_file;
  std::string run_directory;
  std::int64_t steps = 0;
  options.add_options()("config", po::value(&config_file)->required(), "TOML configuration")(
      "plan", po::value(&plan_file)->required(), "plan.json")("profile", po::value(&profile_file),
                                                              "profile.json the plan was made for, checked")(
      "run", po::value(&run_directory), "folder for record, weights and predictions (default: run_directory)")(
      "steps", po::value(&steps), "stop after so many steps; the learning rate still follows train.steps")(
      "trace", "write trace.json of the last step")("no-evaluation", "write neither weights nor predictions");
  const auto values =
      parse_options(invocation, "train", "train CONFIG --plan FILE [--run DIR]",
                    "mpirun -n 4 motley train configs/quickstart.toml --plan run/plan.json", options, "config");
  if (!values) {
    return 0;
  }
  SignalWatch signals("motley train");
  const Config config = read_config(config_file);
  HostMemory memory = start_device(config);
  const Workload workload = workload_of(config, invocation.registry);
  const Plan plan = read_plan(plan_file);
  const auto communicator = connect(comm_options(config, config.comm.deadline));
  signals.watch(*communicator);
  const int rank = communicator->rank();
  expect_ranks(config, communicator->size());
  validate(plan, static_cast<int>(workload.layers.size()), communicator->size(), plan_file);
  if (plan.micro_batch_size * plan.micro_batches != config.train.global_batch) {
    throw InputError::of("{}: {} micro-batches of {} samples are {} a step, {} says train.global_batch = {}", plan_file,
                         plan.micro_batches, plan.micro_batch_size, plan.micro_batches * plan.micro_batch_size,
                         config_file, config.train.global_batch);
  }
  if (!profile_file.empty()) {
    const std::string found = fingerprint(read_profile(profile_file));
    if (plan.profile_fingerprint.empty()) {
      if (rank == 0) {
        spdlog::warn("{}: names no profile, so its prediction cannot be trusted", plan_file);
      }
    } else if (plan.profile_fingerprint != found) {
      throw InputError::of("{}: was made for profile {}, {} is {}", plan_file, plan.profile_fingerprint, profile_file,
                           found);
    }
  }
  const std::vector<int> devices = devices_of(plan, plan_file);
  const std::filesystem::path directory =
      run_directory.empty() ? config.run_directory : std::filesystem::path(run_directory);
  const OptimizerOptions optimizer = optimizer_options(config);

  const std::vector<Boundary> boundaries = boundaries_of(workload);
  std::vector<std::unique_ptr<Stage>> owned;
  std::map<int, Stage*> stages;
  for (int s = 0; s < plan.stage_count(); ++s) {
    if (devices[static_cast<std::size_t>(s)] == rank) {
      const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
      owned.push_back(std::make_unique<Stage>(workload, stage.first_layer, stage.end_layer,
                                              boundaries[static_cast<std::size_t>(stage.first_layer)],
                                              config.train.seed, optimizer));
      stages[s] = owned.back().get();
    }
  }
  ExecutorOptions executor_options;
  executor_options.seed = config.train.seed;
  executor_options.micro_batch_size = plan.micro_batch_size;
  executor_options.optimizer = optimizer;
  executor_options.trace = values->contains("trace");
  Executor executor(*communicator, workload, stages, schedule_of(plan, communicator->size(), true), executor_options,
                    pacer_of(config, rank));

  const std::int64_t last_step = steps > 0 ? std::min(steps, config.train.steps) : config.train.steps;
  const std::int64_t samples_available = workload.data->size(Split::Train);
  std::optional<JsonLines> record;
  if (rank == 0) {
    record.emplace(directory / "record.jsonl");
    record->append({{"kind", "start"},
                    {"planner", plan.planner},
                    {"emulated", config.devices.emulated()},
                    {"plan", to_json(plan)},
                    {"steps", last_step}});
  }
  std::vector<double> walls;
  std::vector<double> losses;
  memory.reset_peak();
  for (std::int64_t step = 0; step < last_step; ++step) {
    const std::vector<std::int64_t> samples =
        samples_of_step(config.train.seed, step, config.train.global_batch, samples_available);
    const StepResult result = executor.train(step, samples);
    walls.push_back(result.wall.value);
    losses.push_back(result.loss);
    if (rank == 0) {
      nlohmann::json line = {{"kind", "step"},
                             {"step", step},
                             {"loss", result.loss},
                             {"gradient_norm", result.gradient_norm},
                             {"wall_s", result.wall.value},
                             {"samples_per_s", static_cast<double>(config.train.global_batch) / result.wall.value}};
      for (const RankTimes& times : result.ranks) {  // of the step before
        line["before"].push_back(
            {{"busy_s", times.busy.value}, {"wait_s", times.waiting.value}, {"transfer_s", times.transfer.value}});
      }
      record->append(line);
      if (step % std::max<std::int64_t>(1, last_step / 10) == 0 || step + 1 == last_step) {
        spdlog::info("train ({}{}): step {}/{} loss {:.4f}, {:.0f} samples/s", plan.planner,
                     config.devices.emulated() ? ", emulated" : "", step + 1, last_step, result.loss,
                     static_cast<double>(config.train.global_batch) / result.wall.value);
      }
    }
  }
  const double peak = static_cast<double>(memory.counts().peak.value);
  const std::vector<double> peaks = gather(*communicator, peak, "peak memory");
  if (executor_options.trace) {
    write_trace(directory / fmt::format("trace-rank{}.json", rank), executor.events());
  }
  if (rank == 0) {
    // The first steps fill caches and allocators; they are in the record but not in the median.
    const std::size_t skip = walls.size() > 4 ? 2 : 0;
    const double iteration = median({walls.begin() + static_cast<std::ptrdiff_t>(skip), walls.end()});
    nlohmann::json summary = {{"kind", "summary"},
                              {"planner", plan.planner},
                              {"emulated", config.devices.emulated()},
                              {"iteration_s", iteration},
                              {"samples_per_s", static_cast<double>(config.train.global_batch) / iteration},
                              {"losses", losses},
                              {"peak_memory_bytes", peaks}};
    if (plan.prediction) {
      summary["predicted_iteration_s"] = plan.prediction->iteration.value;
      for (int s = 0; s < plan.stage_count(); ++s) {
        const auto i = static_cast<std::size_t>(s);
        if (i < plan.prediction->stage_memory.size()) {
          summary["memory"].push_back({{"rank", devices[i]},
                                       {"predicted_bytes", plan.prediction->stage_memory[i].value},
                                       {"measured_bytes", peaks[static_cast<std::size_t>(devices[i])]}});
        }
      }
    }
    record->append(summary);
  }
  if (!values->contains("no-evaluation")) {
    save_weights(directory / "weights", stages);
    for (const auto& [split, name] : {std::pair(Split::Validation, "validation"), std::pair(Split::Test, "test")}) {
      write_predictions(*communicator, workload, stages, plan, devices, executor_options, pacer_of(config, rank), split,
                        directory / fmt::format("predictions-{}.safetensors", name));
    }
  }
  communicator->world().barrier("end");
  return 0;
}

}  // namespace motley

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "motley/base/error.h"
#include "motley/base/log.h"
#include "motley/comm/gather.h"
#include "motley/launcher/config_arguments.h"
#include "motley/launcher/context.h"
#include "motley/launcher/on_ranks.h"
#include "motley/launcher/options.h"
#include "motley/launcher/predictions.h"
#include "motley/launcher/resume.h"
#include "motley/launcher/simulated_events.h"
#include "motley/launcher/training_record.h"
#include "motley/plan/files.h"
#include "motley/runtime/checkpointer.h"
#include "motley/runtime/executor.h"
#include "motley/runtime/weights.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

struct TrainArguments {
  ConfigArguments config;
  std::string plan_file;
  std::string profile_file;
  std::string run_directory;
  std::int64_t steps = 0;
  bool trace = false;
  bool evaluation = true;
  std::string resume;
  bool allow_changes = false;
  bool json = false;
  std::string tensorboard;
  std::int64_t checkpoint_every = -1;  // as configured
};

/// First rank of each stage: the one that stands for its replicas where one is enough.
std::vector<int> first_ranks_of(const Plan& plan) {
  std::vector<int> ranks;
  for (const StagePlan& stage : plan.stages) {
    ranks.push_back(stage.replicas.front().device);
  }
  return ranks;
}

/// Throws InputError unless the plan fits the configuration and the profile it is said to come from.
void check_plan(const Plan& plan, const TrainArguments& arguments, const Config& config,
                const std::optional<Profile>& profile, bool tell) {
  if (plan.micro_batch_size * plan.micro_batches != config.train.global_batch) {
    throw InputError::of("{}: {} micro-batches of {} samples are {} a step, {} says train.global_batch = {}",
                         arguments.plan_file, plan.micro_batches, plan.micro_batch_size,
                         plan.micro_batches * plan.micro_batch_size, config.source, config.train.global_batch);
  }
  if (!profile) {
    return;
  }
  const std::string found = fingerprint(*profile);
  if (!plan.profile_fingerprint.empty() && plan.profile_fingerprint != found) {
    throw InputError::of("{}: was made for profile {}, {} is {}", arguments.plan_file, plan.profile_fingerprint,
                         arguments.profile_file, found);
  }
  if (plan.profile_fingerprint.empty() && tell) {
    spdlog::warn("{}: names no profile, so its prediction cannot be trusted", arguments.plan_file);
  }
}

/// Throws InputError when a rank with a GPU, or one that was planned to have one, has another device than the profile.
void expect_planned_devices(const Profile& profile, const std::vector<RankFacts>& ranks, const std::string& source) {
  for (const RankFacts& rank : ranks) {
    const std::string& planned = profile.cluster.devices.at(static_cast<std::size_t>(rank.rank)).type;
    const bool gpus = !rank.gpu.empty() || is_cuda_type(planned);
    if (gpus && planned != rank.device) {
      throw InputError::of("{}: was made for rank {} on {}, which is on {}: profile and plan again", source, rank.rank,
                           planned, rank.device);
    }
  }
}

/// Plan and profile beside the record where there are none, so that the folder explains itself: a report needs no
/// other.
void copy_inputs(const Plan& plan, const std::optional<Profile>& profile, const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory / "plan.json")) {
    write_plan(directory / "plan.json", plan);
  }
  if (profile && !std::filesystem::exists(directory / "profile.json")) {
    write_profile(directory / "profile.json", *profile);
  }
}

/// One file for all ranks: the last step as measured and, where the profile is known, as simulated.
void write_joint_trace(Communicator& communicator, const Executor& executor, const std::optional<Profile>& profile,
                       const Plan& plan, const std::filesystem::path& file) {
  nlohmann::json mine = nlohmann::json::array();
  for (const TraceEvent& event : executor.events()) {
    mine.push_back({event.name, event.category, event.process, event.lane, event.start.value, event.end.value});
  }
  const std::vector<std::string> texts = gather(communicator, mine.dump(), "trace");
  if (communicator.rank() != 0) {
    return;
  }
  std::vector<TraceEvent> events;
  for (const std::string& text : texts) {
    for (const nlohmann::json& e : nlohmann::json::parse(text)) {
      events.push_back({e[0], e[1], e[2], e[3], Seconds{e[4].get<double>()}, Seconds{e[5].get<double>()}});
    }
  }
  Seconds origin = events.empty() ? Seconds{} : events.front().start;
  for (const TraceEvent& event : events) {
    origin = std::min(origin, event.start);
  }
  for (TraceEvent& event : events) {
    event.start -= origin;
    event.end -= origin;
  }
  if (profile) {
    const Simulation simulation = simulate(schedule_of(plan, communicator.size(), true),
                                           expected_costs_of(plan, *profile), SimulateOptions{.events = true});
    const std::vector<TraceEvent> simulated = simulated_events(simulation, Seconds{});
    events.insert(events.end(), simulated.begin(), simulated.end());
  }
  write_trace(file, events);
}

void train(const TrainArguments& arguments, RankInputs& inputs, SignalWatch& signals, Communicator& communicator) {
  const Config& config = inputs.config;
  const Workload& workload = inputs.workload;
  const int rank = communicator.rank();
  const Plan plan = read_plan(arguments.plan_file);
  validate(plan, static_cast<int>(workload.layers.size()), communicator.size(), arguments.plan_file);
  std::optional<Profile> profile;
  if (!arguments.profile_file.empty()) {
    profile = read_profile(arguments.profile_file);
  }
  check_plan(plan, arguments, config, profile, rank == 0);
  const RankDevice here(std::move(inputs.gpus), config, inputs.memory, communicator);
  if (profile) {
    expect_planned_devices(*profile, here.facts(), arguments.plan_file);
  }
  ComputeDevice& device = here.device();
  const std::vector<int> first_ranks = first_ranks_of(plan);
  const std::filesystem::path directory =
      arguments.run_directory.empty() ? config.run_directory : std::filesystem::path(arguments.run_directory);

  const OptimizerOptions optimizer = optimizer_options(config);
  const std::vector<Boundary> boundaries = boundaries_of(workload);
  std::vector<std::unique_ptr<Stage>> owned;
  std::map<int, Stage*> stages;
  std::map<int, Stage*> saved;  // those that this rank saves
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    if (std::ranges::any_of(stage.replicas, [&](const Replica& replica) { return replica.device == rank; })) {
      owned.push_back(std::make_unique<Stage>(workload, stage.first_layer, stage.end_layer,
                                              boundaries[static_cast<std::size_t>(stage.first_layer)],
                                              config.train.seed, optimizer, device.tensors(), device.kernels()));
      stages[s] = owned.back().get();
      if (first_ranks[static_cast<std::size_t>(s)] == rank) {
        saved[s] = owned.back().get();
      }
    }
  }
  ExecutorOptions options;
  options.seed = config.train.seed;
  options.micro_batch_size = plan.micro_batch_size;
  options.optimizer = optimizer;
  options.trace = arguments.trace;
  here.equip(options, plan, config, profile ? &*profile : nullptr, arguments.plan_file);
  ExecutorOptions training = options;
  training.shares = shares_of(plan);
  for (const StagePlan& stage : plan.stages) {
    training.wires.push_back(wire_by_name(stage.wire));
  }
  Executor executor(communicator, workload, stages, schedule_of(plan, communicator.size(), true), training,
                    pacer_of(config, rank));

  const std::filesystem::path checkpoints = directory / "checkpoints";
  const std::int64_t first = arguments.resume.empty() ? 0
                                                      : resume(arguments.resume, config, workload,
                                                               plan.micro_batch_size, stages, arguments.allow_changes);
  expect_no_later_checkpoint(checkpoints, first);
  const std::int64_t steps = arguments.steps > 0 ? std::min(arguments.steps, config.train.steps) : config.train.steps;
  const std::int64_t every = arguments.checkpoint_every >= 0 ? arguments.checkpoint_every : config.checkpoint.every;
  std::optional<TrainingRecord> record;
  if (rank == 0) {
    copy_inputs(plan, profile, directory);
    for (const char* const stale : {"trace.json", "evaluation.json"}) {
      std::filesystem::remove(directory / stale);  // of what the record said before
    }
    record.emplace(directory / "record.jsonl",
                   RunFacts{plan, config.devices.emulated(), config.train.global_batch, first, steps, config.keys},
                   arguments.tensorboard);
  }
  Checkpointer checkpointer(communicator,
                            {checkpoints, training_settings(config, workload, plan.micro_batch_size),
                             static_cast<int>(config.checkpoint.keep), static_cast<int>(workload.layers.size())});
  LinkRecord links;
  device.reset_peak();
  signals.allow_orderly_stop();
  bool stopped = false;
  for (std::int64_t step = first; step < steps && !stopped; ++step) {
    const StepResult result = executor.train(
        step, samples_of_step(config.train.seed, step, config.train.global_batch, workload.data->size(Split::Train)),
        {.durable = checkpointer.durable(), .stop = signals.stop_requested()});
    links.add(executor.links());
    if (record) {
      record->step(step, result);
    }
    checkpointer.agreed(result.signals.durable);
    stopped = result.signals.stop && step + 1 < steps;
    if (stopped || (every > 0 && (step + 1) % every == 0)) {
      const Seconds stall = checkpointer.save(step + 1, saved);
      if (record) {
        record->checkpoint(step + 1, stall);
      }
    }
  }
  const std::vector<double> peaks =
      gather(communicator, std::vector{static_cast<double>(device.memory().peak.value)}, "peak memory");
  const std::vector<std::string> all_links = gather(communicator, links.to_json().dump(), "links");
  checkpointer.finish();
  if (record) {
    const nlohmann::json summary = record->summary(peaks, all_links);
    if (arguments.json) {
      std::cout << summary << '\n' << std::flush;
    }
    if (const auto complete = checkpointer.complete()) {
      spdlog::info("checkpoint: {} (files written in {:.1f} ms while training went on)", complete->folder.string(),
                   complete->write_time.value * 1e3);
    }
  }
  if (stopped) {
    if (rank == 0) {
      spdlog::warn("stopped as asked; add --resume {} to go on", checkpoints.string());
    }
    return;
  }
  executor.settle();
  if (arguments.trace) {
    write_joint_trace(communicator, executor, profile, plan, directory / "trace.json");
  }
  if (arguments.evaluation) {
    save_weights(directory / "weights", saved);
    for (const auto& [split, name] : {std::pair(Split::Validation, "validation"), std::pair(Split::Test, "test")}) {
      write_predictions(communicator, workload, stages, first_ranks, options, pacer_of(config, rank), split,
                        directory / fmt::format("predictions-{}.safetensors", name));
    }
  }
}

}  // namespace

int command_train(const Invocation& invocation) {
  po::options_description options("options");
  TrainArguments arguments;
  arguments.config.add_to(options);
  options.add_options()("plan", po::value(&arguments.plan_file)->required(), "plan.json")(
      "profile", po::value(&arguments.profile_file), "profile.json the plan was made for, checked")(
      "run", po::value(&arguments.run_directory),
      "folder for record, weights and predictions (default: run_directory)")(
      "steps", po::value(&arguments.steps), "stop after so many steps; the learning rate still follows train.steps")(
      "trace", "write trace.json: the last step as measured and, with --profile, as simulated")(
      "no-evaluation", "write neither weights nor predictions")(
      "resume", po::value(&arguments.resume),
      "go on from this checkpoint, or the latest in this folder of them, under any plan")(
      "allow-changes", "resume although the settings that decide the losses have changed")(
      "json", "print the run's summary as one JSON object")("tensorboard", po::value(&arguments.tensorboard),
                                                            "folder for an event file of TensorBoard")(
      "checkpoint-every", po::value(&arguments.checkpoint_every),
      "steps between checkpoints, 0: none (default: checkpoint.every)");
  const auto prepare = [&]() -> std::optional<RankInputs> {
    const auto values =
        parse_options(invocation, "train", "train CONFIG --plan FILE [--run DIR]",
                      "mpirun -n 4 motley train configs/quickstart.toml --plan plan.json", options, "config");
    if (!values) {
      return std::nullopt;
    }
    arguments.trace = values->contains("trace");
    arguments.allow_changes = values->contains("allow-changes");
    arguments.json = values->contains("json");
    arguments.evaluation = !values->contains("no-evaluation");
    Config config = arguments.config.read();
    GpuSupport gpus = find_gpus(config);
    const HostMemory memory = start_device(config);
    Workload workload = workload_of(config, invocation.registry, &config.keys);
    const CommOptions comm = comm_options(config, config.comm.deadline);
    return RankInputs{std::move(config), memory, std::move(workload), comm, std::move(gpus)};
  };
  return on_ranks("motley train", prepare, [&](RankInputs& inputs, SignalWatch& signals, Communicator& communicator) {
    train(arguments, inputs, signals, communicator);
  });
}

}  // namespace motley

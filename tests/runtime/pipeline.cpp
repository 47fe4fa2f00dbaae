#include "runtime/pipeline.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

Workload make(const std::string& name, const std::string& keys) {
  return builtin_workloads().make({.name = name, .options = workload_options(keys), .folder = {}});
}

}  // namespace

Workload small_router() {
  return make("router",
              "data = \"synthetic\"\nsamples = 60\nembedding = 20\nmodels = 5\nwidth = 24\nhidden = 40\nblocks = 4\n"
              "dropout = 0.2\ninput_dropout = 0.3");
}

Workload small_transformer() {
  return make("transformer", "width = 16\nheads = 2\nblocks = 3\nsequence = 6\nvocabulary = 20");
}

OptimizerOptions clipped_adamw() {
  OptimizerOptions options;
  options.learning_rate = 0.01;
  options.weight_decay = 0.1;
  options.clip_norm = 0.3;
  options.warmup_steps = 2;
  return options;
}

std::vector<std::int64_t> batch_of(const Workload& workload, std::int64_t step, int micro_batches) {
  return samples_of_step(kSeed, step, micro_batches * kMicroBatchSize, workload.data->size(Split::Train));
}

Outcome plain_loop(const Workload& workload, int micro_batches, int steps) {
  at::set_num_threads(1);
  Stage stage(workload, 0, static_cast<int>(workload.layers.size()), {}, kSeed, clipped_adamw());
  Outcome outcome;
  for (int step = 0; step < steps; ++step) {
    const auto samples = batch_of(workload, step, micro_batches);
    const auto batch = static_cast<double>(samples.size());
    for (int m = 0; m < micro_batches; ++m) {
      const std::span mine = std::span(samples).subspan(static_cast<std::size_t>(m * kMicroBatchSize), kMicroBatchSize);
      (void)stage.forward(m, step, {}, workload.data->fetch(stage.reads(), Split::Train, mine), true);
      (void)stage.backward(m, {}, 1.0 / batch);
    }
    double loss = 0.0;
    for (const double summed : stage.take_loss()) {
      loss += summed;
    }
    double square = 0.0;
    for (const double layer : stage.squared_norms()) {
      square += layer;
    }
    outcome.losses.push_back(loss / batch);
    outcome.norms.push_back(std::sqrt(square));
    stage.update(step, clipped_adamw().clip_scale(square));
  }
  for (const LayerState& layer : stage.layers()) {
    outcome.weights.push_back(layer.flat_parameters().clone());
  }
  return outcome;
}

std::vector<int> even_cuts(const Workload& workload, int count) {
  std::vector<int> cuts;
  for (int i = 0; i <= count; ++i) {
    cuts.push_back(static_cast<int>(workload.layers.size()) * i / count);
  }
  return cuts;
}

OwnStages::OwnStages(const Workload& workload, const std::vector<int>& cuts, const std::vector<int>& rank_of_stage,
                     int rank, const OptimizerOptions& options) {
  for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
    if (rank_of_stage[s] == rank) {
      add(workload, cuts, s, options, nullptr);
    }
  }
}

OwnStages::OwnStages(const Workload& workload, const std::vector<int>& cuts, const Schedule& compute, int rank,
                     ComputeDevice* device) {
  const std::vector<std::vector<int>> ranks_of_stage = compute.ranks_of_stage();
  for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
    if (std::ranges::count(ranks_of_stage[s], rank) > 0) {
      add(workload, cuts, s, clipped_adamw(), device);
    }
  }
}

void OwnStages::add(const Workload& workload, const std::vector<int>& cuts, std::size_t stage,
                    const OptimizerOptions& options, ComputeDevice* device) {
  const std::vector<Boundary> boundaries = boundaries_of(workload);
  owned_.push_back(std::make_unique<Stage>(workload, cuts[stage], cuts[stage + 1],
                                           boundaries[static_cast<std::size_t>(cuts[stage])], kSeed, options,
                                           device != nullptr ? device->tensors() : at::kCPU,
                                           device != nullptr ? device->kernels() : kernels::KernelQueue{}));
  view_[static_cast<int>(stage)] = owned_.back().get();
}

ExecutorOptions executor_options(bool trace) {
  ExecutorOptions options;
  options.seed = kSeed;
  options.micro_batch_size = kMicroBatchSize;
  options.optimizer = clipped_adamw();
  options.trace = trace;
  return options;
}

Outcome train(Communicator& communicator, const Workload& workload, const std::vector<int>& cuts,
              const Schedule& compute, int steps, const RunOptions& options) {
  at::set_num_threads(1);
  const OwnStages stages(workload, cuts, compute, communicator.rank(), options.device);
  const Schedule lowered =
      add_transfers(with_updates(compute, options.clip_action), options.receive_ahead, options.shares);
  ExecutorOptions for_executor = executor_options(options.trace);
  for_executor.shares = options.shares;
  for_executor.wires = options.wires;
  for_executor.device = options.device;
  for_executor.nccl = options.nccl;
  for_executor.edge_transport = options.edge_transport;
  for_executor.group_transport = [&](const std::vector<int>&) { return options.group_transport; };
  Executor executor(communicator, workload, stages.view(), lowered, for_executor, Pacer());
  Outcome outcome;
  for (int step = 0; step < steps; ++step) {
    const StepResult result = executor.train(step, batch_of(workload, step, compute.micro_batch_count()));
    outcome.losses.push_back(result.loss);
    outcome.norms.push_back(result.gradient_norm);
  }
  outcome.weights.resize(workload.layers.size());
  for (const auto& [index, stage] : stages.view()) {
    for (const LayerState& layer : stage->layers()) {
      outcome.weights[static_cast<std::size_t>(layer.index())] = layer.flat_parameters().clone();
    }
  }
  return outcome;
}

Schedule weights_apart(const Schedule& compute, int lag) {
  Schedule apart;
  for (const std::vector<Action>& row : compute.ranks) {
    std::vector<Action>& out = apart.ranks.emplace_back();
    std::vector<Action> waiting;  // W, in the order of their I
    for (const Action& action : row) {
      if (action.op != Op::Backward) {
        out.push_back(action);
        continue;
      }
      out.push_back({Op::BackwardInput, action.stage, action.micro_batch});
      waiting.push_back({Op::BackwardWeight, action.stage, action.micro_batch});
      if (static_cast<int>(waiting.size()) > lag) {
        out.push_back(waiting.front());
        waiting.erase(waiting.begin());
      }
    }
    out.insert(out.end(), waiting.begin(), waiting.end());
  }
  return apart;
}

Schedule stage_by_stage(const std::vector<int>& rank_of_stage, int micro_batches, int rank_count) {
  Schedule schedule;
  schedule.ranks.resize(static_cast<std::size_t>(rank_count));
  const int stages = static_cast<int>(rank_of_stage.size());
  const auto append = [&](Op op, int stage) {
    for (int m = 0; m < micro_batches; ++m) {
      schedule.ranks[static_cast<std::size_t>(rank_of_stage[static_cast<std::size_t>(stage)])].push_back(
          {op, stage, m});
    }
  };
  for (int stage = 0; stage < stages; ++stage) {
    append(Op::Forward, stage);
  }
  for (int stage = stages - 1; stage >= 0; --stage) {
    append(Op::Backward, stage);
  }
  return schedule;
}

}  // namespace motley

// One rank of a training run in processes of its own: mpirun -n N runtime_mpi_driver TRANSPORT. Rank 0 prints losses
// and norms as hexadecimal floats, every rank a digest of its weights and its memory.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "motley/comm/abort_on_throw.h"
#include "motley/device/host_memory.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/digest.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

constexpr int kMicroBatches = 5;
constexpr int kSteps = 3;

void say(const std::string& text) {
  const std::string line = "driver: " + text + "\n";
  [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, line.data(), line.size());
}

/// What the rank's computes alone take, without executor and other ranks: tensors of its neighbours are made up.
Bytes peak_of_plain_row(HostMemory& memory, const Workload& workload, Stage& stage, const std::vector<Action>& row) {
  const auto samples = batch_of(workload, 0, kMicroBatches);
  const auto made_up = [](const Boundary& boundary) {
    TensorList tensors;
    for (const TensorSpec& spec : boundary) {
      tensors.push_back(at::ones({kMicroBatchSize, spec.shape.at(0)}));
    }
    return tensors;
  };
  memory.reset_peak();
  for (const Action& action : row) {
    if (action.op == Op::Forward) {
      const std::span mine =
          std::span(samples).subspan(static_cast<std::size_t>(action.micro_batch * kMicroBatchSize), kMicroBatchSize);
      (void)stage.forward(action.micro_batch, 0, made_up(stage.input()),
                          workload.data->fetch(stage.reads(), Split::Train, mine), true);
    } else if (action.op == Op::Backward) {
      (void)stage.backward(action.micro_batch, made_up(stage.output()), 1.0);
    }
  }
  const Bytes peak = memory.counts().peak;
  stage.abandon_step();
  return peak;
}

void run(Communicator& communicator, HostMemory& memory) {
  at::set_num_threads(1);
  const Workload workload = small_router();
  const int stages = communicator.size();
  const Schedule compute = one_f_one_b(stages, kMicroBatches);
  const OwnStages own(workload, even_cuts(workload, stages), compute.rank_of_stage(), communicator.rank());
  Stage& stage = *own.view().begin()->second;
  const auto& row = compute.ranks[static_cast<std::size_t>(communicator.rank())];
  (void)peak_of_plain_row(memory, workload, stage, row);  // what is allocated once and for all
  const Bytes plain = peak_of_plain_row(memory, workload, stage, row);

  Executor executor(communicator, workload, own.view(), add_transfers(with_updates(compute, true)), executor_options(),
                    Pacer());
  memory.reset_peak();
  for (int step = 0; step < kSteps; ++step) {
    const StepResult result = executor.train(step, batch_of(workload, step, kMicroBatches));
    if (communicator.rank() == 0) {
      say(fmt::format("step {} {:a} {:a}", step, result.loss, result.gradient_norm));
    }
  }
  const Bytes peak = memory.counts().peak;
  for (const LayerState& layer : stage.layers()) {
    say(fmt::format("layer {} {}", layer.index(), digest(layer.flat_parameters())));
  }
  const std::int64_t edge = kMicroBatchSize * 24 * static_cast<std::int64_t>(sizeof(float));
  const bool inner = communicator.rank() > 0 && communicator.rank() + 1 < stages;
  say(fmt::format("memory {} {} {} {}", communicator.rank(), peak.value, plain.value, edge * (inner ? 2 : 1)));
  communicator.world().barrier("end");
}

}  // namespace
}  // namespace motley

int main(int count, char** arguments) {
  using namespace motley;
  HostMemory memory = HostMemory::install();
  CommOptions options;
  options.transport = count > 1 ? arguments[1] : "tcp";
  try {
    const auto communicator = connect(options);
    abort_on_throw(*communicator, [&] { run(*communicator, memory); });
    return 0;
  } catch (const std::exception& error) {
    say(error.what());
    return 1;
  }
}

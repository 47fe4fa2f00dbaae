// What the simulator makes of the profiler's bytes, against the peak that stages really reach.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "motley/device/host_memory.h"
#include "motley/profiler/layers.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

constexpr std::int64_t kSize = 16;

HostMemory counting() {
  static const HostMemory memory = [] {
    at::set_num_threads(1);
    return HostMemory::install();
  }();
  return memory;
}

Workload make(const std::string& name, const std::string& keys) {
  return builtin_workloads().make({.name = name, .options = workload_options(keys), .folder = {}});
}

Workload router() {
  return make("router", "data = \"synthetic\"\nsamples = 64\nwidth = 96\nhidden = 128\nblocks = 4\ndropout = 0.2");
}

Workload transformer() {
  return make("transformer", "width = 32\nheads = 2\nblocks = 3\nsequence = 24\nvocabulary = 50");
}

Profile profile_of(const Workload& workload, HostMemory memory) {
  Profile profile;
  OptimizerOptions adamw;
  profile.model.layers = LayerMeter(workload, *host_device(memory), Pacer(), 1, adamw, {kSize}).memory();
  profile.model.micro_batch_sizes = {kSize};
  const std::size_t layers = workload.layers.size();
  const LayerTimes one{Seconds{1}, Seconds{1}, Seconds{1}, Seconds{2}, 0.0};
  DeviceTable table;
  table.alone.by_size = {std::vector<LayerTimes>(layers, one)};
  table.alone.update.assign(layers, Seconds{0});
  table.busy = table.alone;
  profile.model.devices["cpu"] = table;
  for (int device = 0; device < 3; ++device) {
    profile.cluster.devices.push_back({fmt::format("rank{}", device), "host", "cpu", Bytes{1'000'000'000}, 0.0});
    profile.cluster.links.emplace_back(3, TransferCurve({{Bytes{1}, Seconds{0}}}));
  }
  return profile;
}

/// GPipe over `stages` equal cuts.
Plan plan_of(std::size_t layers, int stages, int micro_batches) {
  Plan plan;
  plan.micro_batch_size = kSize;
  plan.micro_batches = micro_batches;
  plan.schedule = "gpipe";
  for (int s = 0; s < stages; ++s) {
    const auto cut = [&](int i) { return static_cast<int>(layers) * i / stages; };
    plan.stages.push_back({cut(s), cut(s + 1), {{s, 0, kSize}}, 1});
  }
  return plan;
}

TensorList tensors_of(const Boundary& boundary, bool gradients) {
  TensorList tensors;
  for (const TensorSpec& spec : boundary) {
    if (!gradients || spec.has_gradient) {
      std::vector<std::int64_t> shape{kSize};
      shape.insert(shape.end(), spec.shape.begin(), spec.shape.end());
      tensors.push_back(at::ones(shape));
    }
  }
  return tensors;
}

/// Peak bytes of one stage that walks its rank's row with transfers that take no time: a receive's buffer lives from
/// its RECV on, a sent tensor dies at once.
std::int64_t measured_peak(const Workload& workload, const StagePlan& plan, const std::vector<Action>& row,
                           HostMemory memory) {
  const std::int64_t before = memory.counts().live.value;
  Stage stage(workload, plan.first_layer, plan.end_layer,
              boundaries_of(workload)[static_cast<std::size_t>(plan.first_layer)], 1, OptimizerOptions{});
  std::vector<std::int64_t> samples(kSize);
  std::iota(samples.begin(), samples.end(), 0);
  std::map<int, TensorList> inputs;
  std::map<int, TensorList> gradients;
  memory.reset_peak();
  for (const Action& action : row) {
    const int m = action.micro_batch;
    switch (action.op) {
      case Op::ReceiveForward:
        inputs[m] = tensors_of(stage.input(), false);
        break;
      case Op::ReceiveBackward:
        gradients[m] = tensors_of(stage.output(), true);
        break;
      case Op::Forward: {
        const Fields fields = workload.data->fetch(stage.reads(), Split::Train, samples);
        (void)stage.forward(m, 0, std::move(inputs[m]), fields, true);
        break;
      }
      case Op::BackwardInput:
        (void)stage.backward_input(m, std::move(gradients[m]), 1e-3);
        break;
      case Op::BackwardWeight:
        stage.backward_weight(m);
        break;
      case Op::Backward:
        (void)stage.backward(m, std::move(gradients[m]), 1e-3);
        break;
      case Op::Update:
        stage.update(0, 1.0);
        break;
      default:
        break;
    }
  }
  return memory.counts().peak.value - before;
}

/// GPipe whose weight gradients wait until every input gradient is through.
Schedule weights_last(const Schedule& compute) {
  Schedule apart;
  for (const std::vector<Action>& row : compute.ranks) {
    std::vector<Action>& actions = apart.ranks.emplace_back();
    std::vector<Action> weights;
    for (Action action : row) {
      if (action.op == Op::Backward) {
        action.op = Op::BackwardWeight;
        weights.push_back(action);
        action.op = Op::BackwardInput;
      }
      actions.push_back(action);
    }
    actions.insert(actions.end(), weights.begin(), weights.end());
  }
  return apart;
}

TEST(LayerMemory, PredictsThePeakOfEveryStageWithinATenth) {
  HostMemory memory = counting();
  for (const Workload& workload : {router(), transformer()}) {
    const Profile profile = profile_of(workload, memory);
    for (const int stages : {1, 2, 3}) {
      for (const int micro_batches : {1, 2, 4}) {
        const Plan plan = plan_of(workload.layers.size(), stages, micro_batches);
        const Schedule fused = gpipe(stages, micro_batches);
        for (const Schedule& compute : {fused, weights_last(fused)}) {
          const Schedule lowered = add_transfers(with_updates(compute, true));
          const Simulation simulation = simulate(lowered, costs_of(plan, profile));
          for (std::size_t s = 0; s < static_cast<std::size_t>(stages); ++s) {
            const auto predicted = static_cast<double>(simulation.peak_memory[s].value);
            const auto measured =
                static_cast<double>(measured_peak(workload, plan.stages[s], lowered.ranks[s], memory));
            EXPECT_NEAR(predicted, measured, 0.1 * measured)
                << workload.name << ", stage " << s << " of " << stages << ", " << micro_batches << " micro-batches, "
                << (compute == fused ? "B" : "I and W");
          }
        }
      }
    }
  }
}

TEST(LayerMemory, LeavesNothingBehind) {
  HostMemory memory = counting();
  const Workload workload = router();
  const std::int64_t before = memory.counts().live.value;
  (void)LayerMeter(workload, *host_device(memory), Pacer(), 1, OptimizerOptions{}, {4, kSize}).memory();
  EXPECT_EQ(memory.counts().live.value, before);
}

TEST(LayerMemory, CountsParametersOfEveryLayerAndTheirMoments) {
  HostMemory memory = counting();
  const std::vector<LayerProfile> layers =
      LayerMeter(router(), *host_device(memory), Pacer(), 1, OptimizerOptions{}, {kSize}).memory();
  ASSERT_EQ(layers.size(), 6U);
  // Two weights, two biases, a norm's two vectors; whole lines of 64 bytes each.
  const std::int64_t block = 4 * std::int64_t{2 * 96 * 128 + 128 + 96 + 2 * 96};
  EXPECT_EQ(layers[1].parameters.value, block);
  EXPECT_EQ(layers[1].optimizer_state.value, 2 * block);
  EXPECT_EQ(forward_bytes(layers[1].output, kSize).value, kSize * 96 * 4);
}

}  // namespace
}  // namespace motley

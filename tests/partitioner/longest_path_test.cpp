#include <gtest/gtest.h>

#include "instances.h"
#include "motley/partitioner/brute_force.h"
#include "motley/partitioner/closed_form.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

/// The plan as the search flattens it, from the costs that the simulator gets.
FlatPipeline flat(const Plan& plan, const PipelineCosts& costs) {
  FlatPipeline pipeline;
  pipeline.micro_batches = static_cast<int>(plan.micro_batches);
  pipeline.gpipe = plan.schedule == "gpipe";
  const double overhead = costs.action_overhead.value;
  const auto codec = [&](int stage, Pass pass, int from, int to, std::int64_t samples) {
    return costs.codec ? costs.codec({stage, pass}, from, to, samples) : CodecTimes{};
  };
  std::size_t first_below = 0;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const std::size_t first_here = pipeline.seats.size();
    for (const Replica& here : plan.stages[s].replicas) {
      const StageCosts& of = costs.of(s, here.device);
      FlatPipeline::Seat& seat = pipeline.seats.emplace_back();
      seat.forward = of.forward.value + overhead;
      seat.backward = of.backward.value + overhead;
      seat.recompute = plan.stages[s].recompute ? seat.forward : 0.0;
      seat.update = of.update.value + overhead;
      seat.reduce = of.reduce.value;
      seat.stage = s;
      seat.warm_up = plan.stages[s].warm_up;
    }
    for (std::size_t i = 0; s > 0 && i < plan.stages[s - 1].replicas.size(); ++i) {
      const Replica& below = plan.stages[s - 1].replicas[i];
      for (std::size_t j = 0; j < plan.stages[s].replicas.size(); ++j) {
        const Replica& above = plan.stages[s].replicas[j];
        const std::int64_t samples =
            std::min(below.sample_end, above.sample_end) - std::max(below.sample_begin, above.sample_begin);
        if (samples <= 0) continue;
        FlatPipeline::Seat& sender = pipeline.seats[first_below + i];
        FlatPipeline::Seat& receiver = pipeline.seats[first_here + j];
        const CodecTimes up = codec(s - 1, Pass::Forward, below.device, above.device, samples);
        const CodecTimes down = codec(s - 1, Pass::Backward, above.device, below.device, samples);
        sender.after_forward += up.encode.value;
        receiver.after_backward += down.encode.value;
        receiver.forward += up.decode.value;
        sender.backward += down.decode.value;
        pipeline.lanes.push_back(
            {static_cast<int>(first_below + i), static_cast<int>(first_here + j),
             costs.transfer(below.device, above.device, costs.part_bytes({s - 1, Pass::Forward}, samples)).value,
             costs.transfer(above.device, below.device, costs.part_bytes({s - 1, Pass::Backward}, samples)).value,
             sender.after_forward, receiver.after_backward});
      }
    }
    first_below = first_here;
  }
  return pipeline;
}

TEST(LongestPath, IsTheSimulatorsTimeWhereNoNicIsSharedAndNeverMore) {
  LongestPath longest;
  int replicated = 0;
  int recomputed = 0;
  int encoded = 0;
  int shared = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Instance instance = random_rich_instance(seed, 800);
    instance.options.use_all_devices = false;
    for (Device& device : instance.profile.cluster.devices) device.memory = Bytes{1'000'000'000};
    for (const Plan& plan : found(find_plan("brute-force", instance.profile, instance.options)).runners_up) {
      if (plan.schedule != "1f1b" && plan.schedule != "gpipe") continue;
      const PipelineCosts costs = costs_of(plan, instance.profile);
      const Schedule schedule = schedule_of(plan, instance.profile.cluster.size(), instance.options.clip);
      const double path = longest.iteration(flat(plan, costs), instance.options.clip, costs.norm_exchange.value);
      const double simulated = simulate(schedule, costs).iteration.value;
      EXPECT_LE(path, simulated * (1.0 + 1e-12)) << "seed " << seed;
      if (costs.host_of_rank.empty()) {
        EXPECT_NEAR(path, simulated, 1e-12 * simulated) << "seed " << seed;
      }
      shared += path < simulated * (1.0 - 1e-9) ? 1 : 0;
      for (const StagePlan& stage : plan.stages) {
        replicated += stage.replicas.size() > 1 ? 1 : 0;
        recomputed += stage.recompute ? 1 : 0;
        encoded += stage.wire != "float32" ? 1 : 0;
      }
    }
  }
  EXPECT_GT(replicated, 200);
  EXPECT_GT(recomputed, 500);
  EXPECT_GT(encoded, 200);
  EXPECT_GT(shared, 20);
}

TEST(LongestPath, HasTheTextbookBubble) {
  LongestPath longest;
  for (int stages = 1; stages <= 6; ++stages) {
    for (int micro_batches = 1; micro_batches <= 9; ++micro_batches) {
      FlatPipeline pipeline;
      pipeline.micro_batches = micro_batches;
      for (int s = 0; s < stages; ++s) {
        FlatPipeline::Seat& seat = pipeline.seats.emplace_back();
        seat.forward = 1.0;
        seat.backward = 2.0;
        seat.stage = s;
        seat.warm_up = stages - s;
        if (s > 0) pipeline.lanes.push_back({s - 1, s});
      }
      EXPECT_DOUBLE_EQ(longest.iteration(pipeline, false, 0.0), 3.0 * (micro_batches + stages - 1));
      pipeline.gpipe = true;
      EXPECT_DOUBLE_EQ(longest.iteration(pipeline, true, 0.5), 3.0 * (micro_batches + stages - 1) + 0.5);
    }
  }
}

}  // namespace
}  // namespace motley

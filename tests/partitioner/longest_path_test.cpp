#include <gtest/gtest.h>

#include "instances.h"
#include "motley/partitioner/brute_force.h"
#include "motley/partitioner/closed_form.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

FlatPipeline flat(const Plan& plan, const PipelineCosts& costs) {
  FlatPipeline pipeline;
  pipeline.micro_batches = static_cast<int>(plan.micro_batches);
  pipeline.gpipe = plan.schedule == "gpipe";
  for (int s = 0; s < plan.stage_count(); ++s) {
    pipeline.forward.push_back(costs.stages[s].forward.value);
    pipeline.backward.push_back(costs.stages[s].backward.value);
    pipeline.update.push_back(costs.stages[s].update.value);
    pipeline.warm_up.push_back(plan.stages[s].warm_up);
    if (s + 1 == plan.stage_count()) break;
    const int from = plan.stages[s].replicas.front().device;
    const int to = plan.stages[s + 1].replicas.front().device;
    pipeline.send_forward.push_back(costs.transfer(from, to, costs.stages[s].boundary_forward).value);
    pipeline.send_backward.push_back(costs.transfer(to, from, costs.stages[s].boundary_backward).value);
  }
  return pipeline;
}

TEST(LongestPath, IsTheSimulatorsTimeWithoutOverheadAndNeverMoreWithIt) {
  LongestPath longest;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Instance instance = random_instance(seed);
    instance.options.use_all_devices = false;
    for (Device& device : instance.profile.cluster.devices) device.memory = Bytes{1'000'000'000};
    for (const Plan& plan : found(find_plan("exact", instance.profile, instance.options)).runners_up) {
      PipelineCosts costs = costs_of(plan, instance.profile);
      const Schedule schedule = schedule_of(plan, instance.profile.cluster.size(), instance.options.clip);
      const double path = longest.iteration(flat(plan, costs), instance.options.clip, costs.norm_exchange.value);
      EXPECT_LE(path, simulate(schedule, costs).iteration.value * (1.0 + 1e-12)) << "seed " << seed;
      costs.action_overhead = Seconds{0.0};
      const double simulated = simulate(schedule, costs).iteration.value;
      EXPECT_NEAR(path, simulated, 1e-12 * simulated) << "seed " << seed;
    }
  }
}

TEST(LongestPath, HasTheTextbookBubble) {
  LongestPath longest;
  for (int stages = 1; stages <= 6; ++stages) {
    for (int micro_batches = 1; micro_batches <= 9; ++micro_batches) {
      FlatPipeline pipeline;
      pipeline.micro_batches = micro_batches;
      pipeline.forward.assign(stages, 1.0);
      pipeline.backward.assign(stages, 2.0);
      pipeline.update.assign(stages, 0.0);
      pipeline.send_forward.assign(stages - 1, 0.0);
      pipeline.send_backward.assign(stages - 1, 0.0);
      for (int s = 0; s < stages; ++s) pipeline.warm_up.push_back(stages - s);
      EXPECT_DOUBLE_EQ(longest.iteration(pipeline, false, 0.0), 3.0 * (micro_batches + stages - 1));
      pipeline.gpipe = true;
      EXPECT_DOUBLE_EQ(longest.iteration(pipeline, true, 0.5), 3.0 * (micro_batches + stages - 1) + 0.5);
    }
  }
}

}  // namespace
}  // namespace motley

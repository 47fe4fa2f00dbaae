#include "motley/partitioner/tailored.h"

#include "motley/base/error.h"
#include "motley/partitioner/price.h"
#include "motley/schedule/tailor.h"

namespace motley {

std::optional<Plan> tailored(const Plan& plan, const Profile& profile, const SearchOptions& options,
                             std::int64_t evaluations) {
  MOTLEY_CHECK(plan.prediction.has_value(), "a plan to be tailored has a price");
  std::vector<int> ranks;
  for (const StagePlan& stage : plan.stages) {
    ranks.push_back(stage.replicas.front().device);
  }
  TailorOptions tailor;
  tailor.micro_batches = static_cast<int>(plan.micro_batches);
  tailor.clip = options.clip;
  tailor.evaluations = evaluations;
  for (const Device& device : profile.cluster.devices) {
    tailor.memory.push_back(device.memory);
  }
  const Tailored made = tailor_schedule(costs_of(plan, profile), ranks, profile.cluster.size(), tailor);
  if (!made.fits || made.simulation.iteration >= plan.prediction->iteration) {
    return std::nullopt;
  }
  Plan listed = plan;
  listed.schedule = "listed";
  listed.actions = csv_rows(made.compute);
  listed.prediction = price(listed, profile, options.clip).prediction;
  return listed;
}

}  // namespace motley

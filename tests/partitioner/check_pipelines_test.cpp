#include "motley/partitioner/check_pipelines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "instances.h"
#include "motley/partitioner/check.h"
#include "motley/partitioner/free_order.h"
#include "motley/partitioner/synthetic.h"

namespace motley {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(CheckPipelines, NoPlanOfTheSpaceIsFaster) {
  int looked_at = 0;
  int near = 0;
  for (std::uint64_t seed = 1; seed <= 600; ++seed) {
    SCOPED_TRACE(seed);
    Rich rich;
    const Instance instance = random_rich_instance(seed, 2000, &rich);
    const std::optional<Seconds> least = least_pipeline(instance.profile, instance.options, false);
    EXPECT_EQ(least.has_value(), !rich.replicas && !rich.interleaved && rich.objective == Objective::Iteration);
    if (!least) continue;
    const SearchResult best = find_plan("brute-force", instance.profile, instance.options);
    if (std::holds_alternative<Infeasible>(best)) continue;
    const double optimum = std::get<Found>(best).plan.prediction->iteration.value;
    EXPECT_LE(least->value, optimum);
    ++looked_at;
    near += least->value > 0.95 * optimum ? 1 : 0;
  }
  EXPECT_GT(looked_at, 40);
  EXPECT_GT(near, looked_at / 3);
}

/// What no order of passes beats, as the solver's branch and bound has it: the same lines, each pipeline for itself.
TEST(CheckPipelines, IsTheLeastOfAllPipelinesWhateverTheOrderOfPasses) {
  int equal = 0;
  int looked_at = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Instance instance = random_instance(seed);
    instance.options.allow = {};
    instance.options.schedules = {"1f1b"};
    instance.options.objective = Objective::Iteration;
    instance.options.any_order = true;
    instance.options.use_all_devices = false;
    if (instance.profile.cluster.size() < 2 || instance.profile.model.layers.size() < 2) continue;
    for (auto& [type, table] : instance.profile.model.devices) {
      const Seconds most{0.2 * static_cast<double>(seed % 3) * table.busy.by_size[0][0].forward.value};
      const TransferCurve curve({{Bytes{0}, 0.5 * most}, {Bytes{6000}, most}});
      if (most.value > 0.0) table.codecs["float32"] = {curve, curve};
    }
    for (Device& device : instance.profile.cluster.devices) device.memory = Bytes{std::int64_t{1} << 60};
    instance.options.clip = false;  // else the update that must be the longest is not that of the best pipeline
    const FreeOrders orders = find_free_orders(instance.profile, instance.options, kInfinity, 1);
    ASSERT_TRUE(orders.complete);
    const Seconds least = least_pipeline(instance.profile, instance.options, true).value();
    EXPECT_LE(least.value, orders.lower_bound_s);
    ++looked_at;
    if (least.value > orders.lower_bound_s * (1.0 - 1e-8)) {
      ++equal;
    } else {  // of a plan with one stage, the engine's time per action apart
      const double single =
          found(find_plan("single", instance.profile, instance.options)).plan.prediction->iteration.value;
      EXPECT_LE(single, 1.05 * least.value);
    }
  }
  EXPECT_GT(looked_at, 100);
  EXPECT_GT(equal, 50);
}

TEST(CheckPipelines, ProvesMostOfWhatExactSays) {
  Profile profile = plain_profile(24, {0, 1, 2, 3, 0, 1}, 1e8);
  SearchOptions options;
  options.global_batch = 32;
  for (const std::string planner : {"exact", "tailored"}) {
    SCOPED_TRACE(planner);
    const Plan plan = found(find_plan(planner, profile, options)).plan;
    const Checked checked = check_plan(plan, profile, space_of(plan));
    EXPECT_THAT(checked.problems, IsEmpty());
    EXPECT_THAT(checked.how, HasSubstr("by a dynamic programme over the devices used"));
    EXPECT_LE(checked.proven_bound, plan.prediction->iteration);
    EXPECT_GT(checked.proven_bound.value, 0.97 * plan.certificate->lower_bound.value);
  }
}

TEST(CheckPipelines, CountsDevicesTogetherWhereEachForItselfTakesTooLong) {
  const SearchOptions options = synthetic_options();
  const Profile profile = synthetic_profile({24, 24, 2, 4, 1});
  const std::optional<Seconds> least = least_pipeline(profile, options, false);
  ASSERT_TRUE(least.has_value());
  const Plan plan = found(find_plan("parametric", profile, options)).plan;
  EXPECT_LE(*least, plan.prediction->iteration);
  EXPECT_GT(least->value, 0.5 * plan.prediction->iteration.value);
  EXPECT_EQ(least_pipeline(synthetic_profile({200, 400, 8, 50, 1}), options, false), std::nullopt);
}

}  // namespace
}  // namespace motley

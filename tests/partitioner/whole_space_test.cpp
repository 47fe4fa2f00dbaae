// "exact" over the whole plan space, against every plan simulated.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/partitioner/brute_force.h"
#include "motley/partitioner/check.h"
#include "motley/partitioner/exact.h"
#include "motley/partitioner/price.h"
#include "motley/plan/features.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

constexpr std::int64_t kMostPlans = 2000;

double value_of(const Plan& plan, const SearchOptions& options) {
  return value_of(*plan.prediction, options.objective);
}

/// What the instances of a run exercised.
struct Seen {
  int infeasible = 0;
  int plans = 0;
  std::map<std::string, int> features;  // in optimal plans
  std::map<std::string, int> needed;    // in optimal plans, and nothing as good without
  std::map<std::string, int> objectives;
  int uneven = 0;
  int deeper = 0;
  int nics = 0;
};

void expect_equal(std::uint64_t seed, Seen& seen) {
  Rich rich;
  const Instance instance = random_rich_instance(seed, kMostPlans, &rich);
  const SearchResult exact = find_plan("exact", instance.profile, instance.options);
  const SearchResult oracle = find_plan("brute-force", instance.profile, instance.options);
  ASSERT_EQ(exact.index(), oracle.index()) << "seed " << seed;
  if (std::holds_alternative<Infeasible>(exact)) {
    ++seen.infeasible;
    return;
  }
  const Plan& plan = std::get<Found>(exact).plan;
  const double expected = value_of(std::get<Found>(oracle).plan, instance.options);
  ASSERT_NEAR(value_of(plan, instance.options), expected, 1e-12 * expected) << "seed " << seed;
  ASSERT_EQ(plan.certificate->gap, 0.0);
  ASSERT_TRUE(std::get<Found>(exact).statistics.complete);
  ASSERT_THAT(check(plan, instance.profile, instance.options), testing::IsEmpty()) << "seed " << seed;
  ASSERT_EQ(plan.certificate->lower_bound, instance.options.objective == Objective::Bottleneck
                                               ? plan.prediction->bottleneck
                                               : plan.prediction->iteration);
  for (const std::string& feature : features_of(plan)) {
    ++seen.features[feature];
    SearchOptions without = instance.options;
    std::erase(without.allow, feature);
    if (without.allow.size() < instance.options.allow.size()) {
      const SearchResult rest = find_plan("exact", instance.profile, without);
      const Found* other = std::get_if<Found>(&rest);
      if (other == nullptr || value_of(other->plan, without) > expected * (1.0 + 1e-9)) ++seen.needed[feature];
    }
  }
  ++seen.plans;
  ++seen.objectives[name_of(instance.options.objective)];
  seen.nics += rich.nics ? 1 : 0;
  for (const StagePlan& stage : plan.stages) {
    std::set<std::int64_t> shares;
    for (const Replica& replica : stage.replicas) shares.insert(replica.sample_end - replica.sample_begin);
    seen.uneven += shares.size() > 1 ? 1 : 0;
  }
  const bool has_depths = plan.schedule == "1f1b" || plan.schedule == "zero-bubble";
  seen.deeper += has_depths && plan.stages.front().warm_up > plan.stage_count() ? 1 : 0;
}

/// Eight tests, so that they run side by side.
class WholeSpace : public testing::TestWithParam<int> {};

TEST_P(WholeSpace, EqualsBruteForceOverSimulatedPlans) {
  constexpr int kInstances = 400;
  Seen seen;
  for (int i = 0; i < kInstances; ++i) {
    expect_equal(static_cast<std::uint64_t>(GetParam()) * kInstances + static_cast<std::uint64_t>(i) + 1, seen);
    if (HasFatalFailure()) return;
  }
  // The instances exercise what they are for.
  EXPECT_GT(seen.infeasible, 1);
  EXPECT_GT(seen.plans, 300);
  for (const char* feature : {"replicas", "recompute", "bfloat16", "int8", "zero-bubble", "interleaved-1f1b"}) {
    EXPECT_GT(seen.features[feature], 2) << feature;
    EXPECT_GT(seen.needed[feature], 0) << feature;
  }
  for (const char* objective : {"iteration", "bottleneck", "cost"})
    EXPECT_GT(seen.objectives[objective], 20) << objective;
  EXPECT_GT(seen.uneven, 1);
  EXPECT_GT(seen.deeper, 10);
  EXPECT_GT(seen.nics, 30);
}

INSTANTIATE_TEST_SUITE_P(Seeds, WholeSpace, testing::Range(0, 8));

/// Larger than can be enumerated: every feature at once on four unlike devices of two hosts.
Instance larger_instance(std::uint64_t seed) {
  Instance instance = random_rich_instance(seed, 2000);
  for (std::uint64_t other = seed; instance.profile.cluster.size() < 4 || instance.profile.model.layers.size() < 6 ||
                                   instance.options.max_stages > 0 || !instance.options.any_order;) {
    instance = random_rich_instance(other += 1000, 20'000);
  }
  for (Device& device : instance.profile.cluster.devices) device.memory = Bytes{1'000'000'000};
  instance.options.allow = {"replicas", "recompute", "int8", "zero-bubble", "interleaved-1f1b"};
  instance.options.use_all_devices = false;
  return instance;
}

TEST(WholeSpaceBudget, TheBoundHoldsWhenTheBudgetRunsOut) {
  int open = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    Instance instance = random_rich_instance(seed, 20'000);
    const SearchResult whole = find_plan("exact", instance.profile, instance.options);
    if (!std::holds_alternative<Found>(whole)) continue;
    const double optimum = value_of(std::get<Found>(whole).plan, instance.options);
    for (const std::int64_t budget : {70, 300, 1000}) {
      instance.options.max_expansions = budget;
      const SearchResult result = find_plan("exact", instance.profile, instance.options);
      const Found* found = std::get_if<Found>(&result);
      if (found == nullptr) continue;
      const double value = value_of(found->plan, instance.options);
      const double bound = value / (1.0 + found->plan.certificate->gap);
      EXPECT_LE(bound, optimum * (1.0 + 1e-12)) << "seed " << seed << " budget " << budget;
      EXPECT_GE(value, optimum * (1.0 - 1e-12));
      EXPECT_EQ(found->statistics.complete, found->plan.certificate->gap == 0.0) << "seed " << seed;
      EXPECT_THAT(check(found->plan, instance.profile, instance.options), testing::IsEmpty()) << "seed " << seed;
      open += found->plan.certificate->gap > 0.0 ? 1 : 0;
    }
  }
  EXPECT_GT(open, 60);
}

TEST(WholeSpaceBudget, NeitherThreadsNorASecondRunChangeTheResult) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Instance instance = larger_instance(seed);
    for (const std::int64_t budget : {20'000, 150'000}) {
      instance.options.max_expansions = budget;
      instance.options.threads = 1;
      const Found one = found(find_plan("exact", instance.profile, instance.options));
      for (const int threads : {2, 3, 1}) {
        instance.options.threads = threads;
        const Found other = found(find_plan("exact", instance.profile, instance.options));
        EXPECT_EQ(to_json(other.plan), to_json(one.plan)) << "seed " << seed << " threads " << threads;
        EXPECT_EQ(other.statistics.expansions, one.statistics.expansions);
        EXPECT_EQ(other.statistics.simulated, one.statistics.simulated);
        ASSERT_EQ(other.runners_up.size(), one.runners_up.size());
        for (std::size_t i = 0; i < one.runners_up.size(); ++i) {
          EXPECT_EQ(to_json(other.runners_up[i]), to_json(one.runners_up[i]));
        }
      }
    }
  }
}

TEST(WholeSpaceBudget, AGapThatIsEnoughEndsTheSearch) {
  int open = 0;
  std::int64_t spent = 0;
  std::int64_t spent_on_all = 0;
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    Instance instance = random_rich_instance(seed, 20'000);
    const SearchResult whole = find_plan("exact", instance.profile, instance.options);
    if (!std::holds_alternative<Found>(whole)) continue;
    instance.options.gap = 0.1;
    const Found near = found(find_plan("exact", instance.profile, instance.options));
    EXPECT_LE(near.plan.certificate->gap, 0.1) << "seed " << seed;
    EXPECT_TRUE(near.statistics.complete) << "seed " << seed;
    EXPECT_LE(value_of(near.plan, instance.options),
              1.1 * value_of(std::get<Found>(whole).plan, instance.options) * (1.0 + 1e-12));
    EXPECT_THAT(check(near.plan, instance.profile, instance.options), testing::IsEmpty()) << "seed " << seed;
    open += near.plan.certificate->gap > 0.0 ? 1 : 0;
    spent += near.statistics.expansions;
    spent_on_all += std::get<Found>(whole).statistics.expansions;
  }
  EXPECT_GT(open, 10);
  EXPECT_LT(spent, spent_on_all);
}

TEST(WholeSpaceBudget, TellsItsProgressAndEndsWithAPlanWhenItIsToldToStop) {
  Instance instance = larger_instance(2);
  SearchOptions& options = instance.options;
  std::atomic<bool> stop{false};
  std::vector<SearchProgress> told;
  options.stop = &stop;
  options.progress = [&](const SearchProgress& progress) {
    told.push_back(progress);
    stop = told.size() == 5;
  };
  const Found stopped = found(find_plan("exact", instance.profile, options));
  EXPECT_FALSE(stopped.statistics.complete);
  EXPECT_GT(stopped.plan.certificate->gap, 0.0);
  ASSERT_GE(told.size(), 5U);
  for (std::size_t i = 1; i < told.size(); ++i) {
    EXPECT_LE(told[i].best, told[i - 1].best);
    EXPECT_GE(told[i].lower_bound, told[i - 1].lower_bound);
    EXPECT_GE(told[i].expansions, told[i - 1].expansions);
    EXPECT_GE(told[i].best, told[i].lower_bound);
  }
  EXPECT_NEAR(value_of(stopped.plan, options), told.back().best, 1e-12);
  options.stop = nullptr;
  options.progress = nullptr;
  options.time_limit = Seconds{1e-6};
  const Found limited = found(find_plan("exact", instance.profile, options));
  EXPECT_FALSE(limited.statistics.complete);
  EXPECT_GT(limited.plan.certificate->gap, 0.0);
}

/// Without shared NICs, where more speed can delay (nic_sharing.h), and without limits of memory, which a message that
/// waits can break.
Instance instance_for_properties(std::uint64_t seed) {
  Instance instance = random_rich_instance(seed, 4000);
  instance.profile.cluster.hosts.clear();
  for (Device& device : instance.profile.cluster.devices) device.memory = Bytes{1'000'000'000};
  return instance;
}

double optimum(const Instance& instance) {
  return value_of(found(find_plan("exact", instance.profile, instance.options)).plan, instance.options);
}

TEST(WholeSpaceProperties, MoreBandwidthOrSpeedNeverMakesTheOptimumWorse) {
  int better = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Instance instance = instance_for_properties(seed);
    const double before = optimum(instance);
    Instance faster = instance;
    faster.profile = with_faster_links(instance.profile, 3.0);
    const double with_links = optimum(faster);
    EXPECT_LE(with_links, before * (1.0 + 1e-12)) << "seed " << seed;
    faster = instance;
    DeviceTable& table = faster.profile.model.devices.begin()->second;
    for (DeviceTimes* times : {&table.alone, &table.busy}) {
      for (auto& row : times->by_size) {
        for (LayerTimes& layer : row) {
          for (Seconds* time : {&layer.forward, &layer.backward, &layer.backward_input, &layer.backward_weight}) {
            *time = *time * 0.6;
          }
        }
      }
    }
    const double with_speed = optimum(faster);
    EXPECT_LE(with_speed, before * (1.0 + 1e-12)) << "seed " << seed;
    better += with_links < before * (1.0 - 1e-9) || with_speed < before * (1.0 - 1e-9) ? 1 : 0;
  }
  EXPECT_GT(better, 100);
}

TEST(WholeSpaceProperties, MoreFeaturesAndFewerSharedNicsNeverMakeTheOptimumWorse) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Instance instance = random_rich_instance(seed, 4000);
    for (Device& device : instance.profile.cluster.devices) device.memory = Bytes{1'000'000'000};
    const double before = optimum(instance);
    Instance other = instance;
    other.profile.cluster.hosts.clear();
    EXPECT_LE(optimum(other), before * (1.0 + 1e-12)) << "seed " << seed;
    if (instance.options.allow.empty()) continue;
    other = instance;
    other.options.allow.pop_back();
    EXPECT_GE(optimum(other), before * (1.0 - 1e-12)) << "seed " << seed;
  }
}

TEST(WholeSpaceProperties, RelabellingDevicesChangesNothing) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const Instance instance = random_rich_instance(seed, 4000);
    if (!instance.options.any_order) continue;
    const SearchResult before = find_plan("exact", instance.profile, instance.options);
    if (!std::holds_alternative<Found>(before)) continue;
    std::vector<int> order(instance.profile.cluster.devices.size());
    std::iota(order.rbegin(), order.rend(), 0);
    Instance other = instance;
    other.profile = reordered(instance.profile, order);
    const double expected = value_of(std::get<Found>(before).plan, instance.options);
    EXPECT_NEAR(optimum(other), expected, 1e-9 * expected) << "seed " << seed;
  }
}

TEST(WholeSpaceOptions, AreRefusedByName) {
  const Profile profile = plain_profile(4, {0, 1});
  const auto refused = [&](const std::function<void(SearchOptions&)>& change) {
    SearchOptions options;
    options.global_batch = 4;
    change(options);
    try {
      (void)find_plan("exact", profile, options);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  using testing::HasSubstr;
  EXPECT_EQ(refused([](SearchOptions& o) { o.allow = {"replicas", "int8", "zero-bubble"}; }), "");
  EXPECT_THAT(refused([](SearchOptions& o) { o.allow = {"replica"}; }), HasSubstr("allow: found \"replica\""));
  EXPECT_THAT(refused([](SearchOptions& o) { o.allow = {"listed"}; }), HasSubstr("allow: found \"listed\""));
  EXPECT_THAT(refused([](SearchOptions& o) { o.schedules = {"listed"}; }), HasSubstr("schedules: found \"listed\""));
  EXPECT_THAT(refused([](SearchOptions& o) { o.max_rounds = 1; }), HasSubstr("max_rounds: 1 found"));
  EXPECT_THAT(refused([](SearchOptions& o) { o.gap = -0.1; }), HasSubstr("gap: -0.1 found, at least 0 expected"));
  EXPECT_THAT(refused([](SearchOptions& o) { o.objective = Objective::Cost; }), HasSubstr("usd_per_hour"));
  EXPECT_THAT(refused([](SearchOptions& o) { o.global_batch = std::int64_t{1} << 62; }),
              HasSubstr("global_batch: 4611686018427387904 found, at most 16777216 expected"));
  EXPECT_THROW((void)objective_by_name("speed"), InputError);
}

TEST(WholeSpaceOptions, BytesWhoseSumWouldOverflowAreRefused) {
  Profile profile = plain_profile(4, {0, 1});
  SearchOptions options;
  options.global_batch = 4;
  for (LayerProfile& layer : profile.model.layers) layer.parameters = Bytes{std::int64_t{1} << 62};
  try {
    (void)find_plan("exact", profile, options);
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("profile: model.layers: found more than 70368744177664 bytes up to"));
  }
}

TEST(WholeSpaceOptions, TheCertificateNamesTheSpace) {
  const Instance instance = larger_instance(1);
  const std::string space = found(find_plan("exact", instance.profile, instance.options)).plan.certificate->space;
  const std::string rounds = fmt::format("interleaved-1f1b with 2 to {} rounds", instance.options.max_rounds);
  for (const std::string& part : {std::string("shares in units of"), std::string("zero-bubble"), rounds,
                                  std::string("recomputation"), std::string("wire formats float32, int8")}) {
    EXPECT_THAT(space, testing::HasSubstr(part));
  }
}

}  // namespace
}  // namespace motley

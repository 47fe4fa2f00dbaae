#include "motley/partitioner/parametric.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <vector>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/partitioner/check_bound.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/synthetic.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

Instance searchable_instance(std::uint64_t seed) {
  Instance instance = random_instance(seed);
  instance.options.any_order = true;
  instance.options.use_all_devices = false;
  instance.options.schedules = {"1f1b"};
  return instance;
}

TEST(Parametric, BoundsFromBelowWhatEnumerationFinds) {
  int compared = 0;
  double gaps = 0.0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Instance instance = searchable_instance(seed);
    const SearchResult exact = find_plan("exact", instance.profile, instance.options);
    const bool refined = seed % 3 == 0;  // else no budget is left for that
    if (!refined) instance.options.max_expansions = 2'000;
    const SearchResult result = find_plan("parametric", instance.profile, instance.options);
    if (!std::holds_alternative<Found>(exact)) {
      EXPECT_TRUE(std::holds_alternative<Infeasible>(result)) << "seed " << seed;
      continue;
    }
    if (!std::holds_alternative<Found>(result)) continue;
    const double best = std::get<Found>(exact).plan.prediction->iteration.value;
    const Plan& plan = std::get<Found>(result).plan;
    EXPECT_GE(plan.prediction->iteration.value, best * (1.0 - 1e-12)) << "seed " << seed;
    if (refined) {
      EXPECT_LE(plan.prediction->iteration.value, best * (1.0 + 1e-12)) << "seed " << seed;
    }
    EXPECT_LE(plan.certificate->lower_bound.value, best * (1.0 + 1e-12)) << "seed " << seed;
    EXPECT_EQ(plan.prediction->iteration,
              price_by_simulation(plan, instance.profile, instance.options.clip).prediction.iteration);
    EXPECT_THAT(check_bound(*plan.certificate, instance.profile, instance.options), testing::IsEmpty())
        << "seed " << seed;
    gaps += plan.certificate->gap;
    ++compared;
  }
  EXPECT_GE(compared, 200);
  RecordProperty("mean_gap", std::to_string(gaps / compared));
}

TEST(Parametric, AGapThatIsEnoughEndsTheSearch) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const Profile profile = synthetic_profile({192, 128, 4, 16, seed});
    SearchOptions options = synthetic_options();
    const Found whole = found(find_plan("parametric", profile, options));
    options.gap = whole.plan.certificate->gap + 0.02;
    const Found near = found(find_plan("parametric", profile, options));
    EXPECT_LE(near.plan.certificate->gap, options.gap) << "seed " << seed;
    EXPECT_LT(near.statistics.expansions, whole.statistics.expansions) << "seed " << seed;
    EXPECT_THAT(check_bound(*near.plan.certificate, profile, options), testing::IsEmpty()) << "seed " << seed;
    const Found again = found(find_plan("parametric", profile, options));
    EXPECT_EQ(to_json(again.plan), to_json(near.plan)) << "seed " << seed;
    EXPECT_EQ(again.statistics.expansions, near.statistics.expansions) << "seed " << seed;
  }
}

/// Prices of places alone refute no more than 2.2 % below its plan.
TEST(Parametric, WhereChainsRaiseTheBoundOfOneSizeTheOthersKeepUp) {
  const Profile profile = synthetic_profile({192, 128, 4, 16, 7});
  SearchOptions options = synthetic_options();
  options.gap = 0.02;
  const Certificate certificate = *found(find_plan("parametric", profile, options)).plan.certificate;
  EXPECT_LE(certificate.gap, options.gap);
  const auto by_chains = [](const BoundProof& proof) { return proof.chains.has_value(); };
  EXPECT_EQ(std::count_if(certificate.proofs.begin(), certificate.proofs.end(), by_chains), 1);
  EXPECT_THAT(check_bound(certificate, profile, options), testing::IsEmpty());
}

TEST(Parametric, AStopOrATimeLimitEndsItWithTheBestPlanSoFarAndItsGap) {
  const Profile profile = synthetic_profile({96, 64, 4, 8, 2});
  const SearchOptions options = synthetic_options();
  const Found whole = found(find_plan("parametric", profile, options));
  EXPECT_TRUE(whole.statistics.complete);
  const std::atomic<bool> stop{true};
  SearchOptions stopped = options;
  stopped.stop = &stop;
  SearchOptions limited = options;
  limited.time_limit = Seconds{1e-3};
  for (const SearchOptions& ended : {stopped, limited}) {
    const Found early = found(find_plan("parametric", profile, ended));
    EXPECT_FALSE(early.statistics.complete);
    EXPECT_LT(early.statistics.expansions, whole.statistics.expansions);
    EXPECT_GE(early.plan.prediction->iteration.value, whole.plan.certificate->lower_bound.value);
    EXPECT_LE(early.plan.certificate->lower_bound.value, whole.plan.prediction->iteration.value);
    EXPECT_THAT(check_bound(*early.plan.certificate, profile, options), testing::IsEmpty());
  }
}

TEST(Parametric, SaysHowFarItIsAndThatOnlyImproves) {
  SearchOptions options = synthetic_options();
  std::vector<SearchProgress> told;
  options.progress = [&](const SearchProgress& progress) { told.push_back(progress); };
  const Found result = found(find_plan("parametric", synthetic_profile({48, 32, 4, 8, 12}), options));
  ASSERT_GE(told.size(), 3U);
  for (std::size_t i = 1; i < told.size(); ++i) {
    EXPECT_LE(told[i].best, told[i - 1].best);
    EXPECT_GE(told[i].lower_bound, told[i - 1].lower_bound);
    EXPECT_GE(told[i].expansions, told[i - 1].expansions);
  }
  EXPECT_EQ(told.back().best, result.plan.prediction->iteration.value);
}

}  // namespace
}  // namespace motley

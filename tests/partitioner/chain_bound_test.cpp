#include "motley/partitioner/parametric/chain_bound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/partitioner/check_bound.h"
#include "motley/partitioner/check_chains.h"
#include "motley/partitioner/parametric/mixture.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"
#include "motley/partitioner/synthetic.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

using parametric::ChainBound;
using parametric::Mixture;

/// The bound by chains alone for plans of the only micro-batch size, proven again by the checker; every chain it is
/// shown is simulated.
double bound_of(const Profile& profile, const SearchOptions& options, double most, double* best_chain = nullptr) {
  const parametric::Topology topology(profile);
  const std::int64_t size = options.micro_batch_sizes.front();
  const parametric::LinkTimes links(profile.cluster, parametric::Instance::amounts(profile.model, size));
  const parametric::Instance instance(profile, topology, links, size, options.global_batch);
  const int stages = most_stages(profile, options);
  EXPECT_TRUE(ChainBound::knows(instance, stages));
  const parametric::AfterBackwards after = parametric::least_after_backwards(profile, topology, options.clip);
  ChainBound chains(instance, after, stages);
  double best = most;
  const auto simulate = [&](std::span<const parametric::ChainStage> shown) {
    std::vector<int> cuts = {0};
    std::vector<int> devices;
    std::vector<int> depths;
    for (auto stage = shown.rbegin(); stage != shown.rend(); ++stage) {
      EXPECT_EQ(stage->first, cuts.back());
      cuts.push_back(stage->end);
      devices.push_back(stage->device);
      depths.push_back(stage->depth);
    }
    EXPECT_EQ(std::set<int>(devices.begin(), devices.end()).size(), devices.size());
    const Priced priced =
        price(make_plan(cuts, devices, depths, size, options.global_batch, "1f1b"), profile, options.clip);
    if (best_chain != nullptr && !priced.shortfall) {
      *best_chain = std::min(*best_chain, priced.prediction.iteration.value);
    }
    if (!priced.shortfall) best = std::min(best, priced.prediction.iteration.value);
    return best;
  };
  const ChainBound::Proven proven = chains.bound(0.0, most, 1e-4, 200'000'000, simulate);
  if (proven.proof) {
    EXPECT_EQ(check_chains(*proven.proof, profile, options, size, proven.time - after.all, after.update), "");
  }
  return proven.time;
}

TEST(ChainBound, NeverExceedsTheBestPlanAndComesNear) {
  int compared = 0;
  int near = 0;
  for (std::uint64_t seed = 1; seed <= 600; ++seed) {
    Instance instance = random_instance(seed);
    SearchOptions& options = instance.options;
    options.any_order = true;
    options.use_all_devices = false;
    options.schedules = {"1f1b"};
    options.micro_batch_sizes = {micro_batch_sizes(instance.profile.model, options).front()};
    options.global_batch = options.micro_batch_sizes.front() * (seed % 2 == 0 ? 120 : 20);
    const SearchResult exact = find_plan("exact", instance.profile, options);
    const Found* const best = std::get_if<Found>(&exact);
    if (best == nullptr || best->plan.stages.size() < 2) continue;
    const double time = best->plan.prediction->iteration.value;
    double best_chain = 2.0 * time;
    const double bound = bound_of(instance.profile, options, 1.05 * time, &best_chain);
    EXPECT_LE(bound, time * (1.0 + 1e-12)) << "seed " << seed;
    EXPECT_GE(best_chain, time * (1.0 - 1e-12)) << "seed " << seed;
    ++compared;
    if (bound > 0.97 * time) ++near;
  }
  EXPECT_GE(compared, 200);
  EXPECT_GE(near, compared / 2);
}

TEST(ChainBound, KnowsThatSlowLinksNeedDeeperWarmUps) {
  // Equal devices on hosts of their own; a message takes as long as a layer. Every stage's round trip through its
  // neighbour needs more forwards ahead than textbook, for which there is no memory.
  Profile profile = plain_profile(8, {0, 0, 0, 0}, 1000.0 / 1.5e-3);
  for (Device& device : profile.cluster.devices) device.memory = Bytes{2 * 4'000 + 4 * 2'000 + 6'000};
  SearchOptions options;
  options.global_batch = 100;
  options.micro_batch_sizes = {1};
  const Found best = found(find_plan("exact", profile, options));
  const double time = best.plan.prediction->iteration.value;
  const double bound = bound_of(profile, options, 1.05 * time);
  EXPECT_LE(bound, time);
  EXPECT_GT(bound, 0.95 * time);
  SearchOptions prices = options;
  prices.max_expansions = 1;
  const Found by_prices = found(find_plan("parametric", profile, prices));
  EXPECT_GT(bound, 1.02 * by_prices.plan.certificate->proven_bound.value);
}

TEST(ChainBound, LeavesLittleOfTheGapOfMediumSizes) {
  double worst = 0.0;
  for (const std::uint64_t seed : {2, 10, 20}) {
    const Found plan = found(find_plan("parametric", synthetic_profile({48, 32, 4, 8, seed}), synthetic_options()));
    worst = std::max(worst, plan.plan.certificate->gap);
    EXPECT_GT(plan.plan.certificate->proven_bound.value, 0.999 * plan.plan.certificate->lower_bound.value) << seed;
  }
  EXPECT_LT(worst, 0.0005);
}

TEST(ChainBound, KnowsThatEqualStagesSideBySideWaitForTheirMessages) {
  // Four equal stages with memory for four micro-batches in flight, no more, so that warm-ups are textbook. Two
  // neighbours have two periods for their work and the two messages of one boundary; all four have four periods for
  // three boundaries, a period longer by a quarter of a boundary than two neighbours show.
  Profile profile = plain_profile(4, {0, 0, 0, 0}, 1000.0 / 0.15e-3);
  constexpr Bytes kSaved{100'000};
  for (LayerProfile& layer : profile.model.layers)
    layer.memory = {{kSaved, Bytes{0}, kSaved, kSaved, Bytes{0}, kSaved}};
  for (Device& device : profile.cluster.devices) device.memory = Bytes{450'000};
  SearchOptions options;
  options.global_batch = 400;
  options.micro_batch_sizes = {1};
  const Found best = found(find_plan("exact", profile, options));
  ASSERT_EQ(best.plan.stages.size(), 4U);
  EXPECT_EQ(best.plan.stages.front().warm_up, 4);
  const double time = best.plan.prediction->iteration.value;
  const double bound = bound_of(profile, options, 1.05 * time);
  EXPECT_LE(bound, time);
  EXPECT_GT(bound, 0.999 * time);
}

class ChainProofs : public testing::Test {
 protected:
  [[nodiscard]] std::vector<std::string> problems(const Certificate& certificate) const {
    return check_bound(certificate, profile_, options_);
  }
  BoundProof& proof() {
    return *std::find_if(certificate_.proofs.begin(), certificate_.proofs.end(),
                         [](const BoundProof& of) { return of.chains && of.chains->parts.size() == 2; });
  }

  Profile profile_ = synthetic_profile({48, 32, 4, 8, 12});
  SearchOptions options_ = synthetic_options();
  Plan plan_ = found(find_plan("parametric", profile_, options_)).plan;
  Certificate certificate_ = *plan_.certificate;
};

TEST_F(ChainProofs, AreProvenAgainFromThePlansFile) {
  EXPECT_THAT(problems(certificate_), testing::IsEmpty());
  EXPECT_FALSE(proof().chains->parts.empty());
  const Certificate read = *plan_from_json(nlohmann::json::parse(to_json(plan_).dump()), "plan.json").certificate;
  EXPECT_THAT(problems(read), testing::IsEmpty());
  EXPECT_EQ(read.proven_bound, certificate_.proven_bound);
}

TEST_F(ChainProofs, InAFileNameTheFieldThatIsWrong) {
  const nlohmann::json right = to_json(plan_);
  std::size_t at = 0;
  while (!certificate_.proofs[at].chains || certificate_.proofs[at].chains->parts.empty()) ++at;
  const auto refused = [&](const std::function<void(nlohmann::json&)>& change, const std::string& why) {
    nlohmann::json wrong = right;
    change(wrong["certificate"]["proofs"][at]["chains"]);
    try {
      static_cast<void>(plan_from_json(wrong, "plan.json"));
      ADD_FAILURE() << "accepted: " << why;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("chains"));
      EXPECT_THAT(error.what(), testing::HasSubstr(why));
    }
  };
  refused([](nlohmann::json& chains) { chains["price"] = 1; }, "price");
  refused([](nlohmann::json& chains) { chains["layer"] = -1; }, "layer");
  refused([](nlohmann::json& chains) { chains["round_trips"][0] = {{0, 1.0}}; }, "a count of at least 1");
  refused(
      [](nlohmann::json& chains) {
        for (int level = 0; level < 300; ++level) {
          nlohmann::json deeper = {{"round_trips", nlohmann::json::array()}, {"prices", nlohmann::json::array()}};
          deeper["layer"] = 0;
          deeper["device"] = 0;
          deeper["parts"].push_back(chains);
          chains = deeper;
        }
      },
      "fewer levels of parts");
}

TEST_F(ChainProofs, OfTooMuchAreRefused) {
  certificate_.proven_bound = certificate_.proven_bound * 1.001;
  EXPECT_THAT(problems(certificate_), testing::ElementsAre(testing::HasSubstr("do not refute")));
}

TEST_F(ChainProofs, OfOtherDevicesAreRefused) {
  for (Device& device : profile_.cluster.devices) device.memory = device.memory + Bytes{8'000'000'000};
  EXPECT_THAT(problems(certificate_), testing::Not(testing::IsEmpty()));
}

TEST_F(ChainProofs, WithChangedPricesOrPartsAreRefusedByTheirPlace) {
  const Certificate right = certificate_;
  const auto refused = [&](const std::string& why) {
    EXPECT_THAT(problems(certificate_), testing::Contains(testing::HasSubstr(why)));
    certificate_ = right;
  };
  BoundProof::Chains* end = &*proof().chains;
  std::string place = "chains";
  while (!end->parts.empty()) {
    end = &end->parts[0];
    place += ".parts[0]";
  }
  ASSERT_FALSE(end->prices.empty());
  for (double& price : end->prices) price = 0.0;
  refused(place + ".prices: there are chains");
  proof().chains->parts.pop_back();
  refused("chains: neither prices nor two parts found");
  proof().chains->parts[1] = proof().chains->parts[0];
  refused("chains.parts[1]");
  proof().chains->layer = 48;
  refused("layer 48");
  proof().chains->round_trips.front().front() += 1.0;
  refused("chains.round_trips[0]: two prices of devices that are alike");
  proof().chains->round_trips.front().pop_back();
  refused("chains.round_trips[0]: 31 prices found, 32 expected");
  proof().chains->round_trips.front().assign(32, -1.0);
  refused("chains.round_trips[0]: -1 found");
}

TEST(Mixture, IsOptimalByItsPrices) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const auto whole = [&](int least, int most) { return static_cast<double>(least + random() % (most - least + 1)); };
    std::vector<double> capacities;
    for (int r = 0; r < 4; ++r) capacities.push_back(whole(1, 4));
    Mixture mixture(capacities);
    std::vector<std::vector<double>> uses;
    std::vector<double> costs;
    for (int c = 0; c < 25; ++c) {
      std::vector<double> use;
      for (int r = 0; r < 4; ++r) use.push_back(whole(0, 6));
      uses.push_back(use);
      costs.push_back(whole(1, 100));
      mixture.add(use, costs.back());
      const std::optional<Mixture::Prices> prices = mixture.solve();
      ASSERT_TRUE(prices.has_value());
      const auto priced = [&](const std::vector<double>& of) {
        return std::inner_product(of.begin(), of.end(), prices->price.begin(), 0.0);
      };
      for (std::size_t k = 0; k < uses.size(); ++k) {
        EXPECT_GE((prices->feasible ? costs[k] : 0.0) + priced(uses[k]), prices->rest - 1e-4) << "seed " << seed;
      }
      if (!prices->feasible) {
        EXPECT_GT(prices->rest, priced(capacities)) << "seed " << seed;  // Farkas
        continue;
      }
      const std::vector<double> weights = mixture.weights();
      double sum = 0.0;
      double cost = 0.0;
      std::vector<double> used(4, 0.0);
      for (std::size_t k = 0; k < uses.size(); ++k) {
        EXPECT_GE(weights[k], -1e-9);
        sum += weights[k];
        cost += weights[k] * costs[k];
        for (std::size_t r = 0; r < 4; ++r) used[r] += weights[k] * uses[k][r];
      }
      EXPECT_NEAR(sum, 1.0, 1e-6);
      for (std::size_t r = 0; r < 4; ++r) EXPECT_LE(used[r], capacities[r] + 1e-5);
      EXPECT_NEAR(cost, prices->rest - priced(capacities), 1e-3) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace motley

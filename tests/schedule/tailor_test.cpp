#include "motley/schedule/tailor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

struct Instance {
  PipelineCosts costs;
  std::vector<int> ranks;
  int rank_count = 0;
  TailorOptions options;
};

/// Stages of unlike speed behind unlike links, one a rank; or several on some rank.
Instance random_instance(std::mt19937_64& engine, bool one_a_rank) {
  const auto whole = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine); };
  const auto real = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(engine);
  };
  Instance instance;
  instance.rank_count = whole(2, 4);
  const int stages = one_a_rank ? instance.rank_count : whole(2, 6);
  instance.options.micro_batches = whole(1, 8);
  instance.options.evaluations = 300;
  for (int s = 0; s < stages; ++s) {
    StageCosts cost;
    const double work = real(0.5, 2.0);
    cost.forward = Seconds{work * real(0.8, 1.2)};
    cost.backward_input = Seconds{work * real(0.8, 1.2)};
    cost.backward_weight = Seconds{work * real(0.8, 1.2)};
    cost.backward = 0.97 * (cost.backward_input + cost.backward_weight);
    cost.update = Seconds{real(0.0, 0.3)};
    cost.boundary_forward = cost.boundary_backward = Bytes{whole(1, 100)};
    cost.saved = cost.forward_peak = cost.backward_peak = cost.backward_input_peak = Bytes{whole(100, 200)};
    cost.queued = cost.backward_weight_peak = Bytes{whole(50, 100)};
    instance.costs.stages.push_back(cost);
    instance.ranks.push_back(one_a_rank ? s : whole(0, instance.rank_count - 1));
  }
  std::vector<double> rates;
  for (int link = 0; link < 16; ++link) rates.push_back(real(20.0, 1000.0));
  instance.costs.transfer = [rates](int from, int to, Bytes bytes) {
    return bytes / BytesPerSecond{rates[static_cast<std::size_t>(from) * 4 + static_cast<std::size_t>(to)]};
  };
  return instance;
}

Tailored tailor(const Instance& instance) {
  return tailor_schedule(instance.costs, instance.ranks, instance.rank_count, instance.options);
}

Simulation replay(const Instance& instance, const Schedule& compute) {
  return simulate(add_transfers(with_updates(compute, instance.options.clip)), instance.costs);
}

TEST(Tailor, IsValidNeverSlowerThanTheTextbookAndMostlyFaster) {
  std::mt19937_64 engine(5);
  int faster = 0;
  constexpr int kRounds = 60;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    const Instance instance = random_instance(engine, true);
    const int stages = instance.rank_count;
    const int micro_batches = instance.options.micro_batches;
    const Tailored tailored = tailor(instance);
    EXPECT_TRUE(tailored.fits);
    EXPECT_LE(tailored.evaluations, instance.options.evaluations);
    const Schedule lowered = add_transfers(with_updates(tailored.compute, instance.options.clip));
    const auto problems = validate(lowered);
    ASSERT_TRUE(problems.empty()) << problems.front().message;
    EXPECT_EQ(simulate(lowered, instance.costs).iteration.value, tailored.simulation.iteration.value);
    std::vector<int> depths;
    for (int s = 0; s < stages; ++s) depths.push_back(stages - s);
    const double textbook = std::min(replay(instance, one_f_one_b(stages, micro_batches)).iteration.value,
                                     replay(instance, zero_bubble(stages, micro_batches, depths)).iteration.value);
    EXPECT_LE(tailored.simulation.iteration.value, textbook);
    faster += tailored.simulation.iteration.value < 0.99 * textbook ? 1 : 0;
  }
  EXPECT_GT(faster, kRounds / 2);
}

TEST(Tailor, SeveralStagesOnARankRunToo) {
  std::mt19937_64 engine(6);
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    const Instance instance = random_instance(engine, false);
    const Tailored tailored = tailor(instance);
    const auto problems = validate(add_transfers(tailored.compute));
    ASSERT_TRUE(problems.empty()) << problems.front().message << '\n' << to_csv(tailored.compute);
  }
}

TEST(Tailor, KeepsTheMemoryOfEveryRankWhereThatIsPossible) {
  std::mt19937_64 engine(8);
  int bound = 0;
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    Instance instance = random_instance(engine, true);
    const Tailored free = tailor(instance);
    // What one micro-batch at a time needs fits always.
    std::vector<int> ones(instance.ranks.size(), 1);
    instance.options.memory =
        replay(instance, one_f_one_b(instance.rank_count, instance.options.micro_batches, ones)).peak_memory;
    const Tailored tight = tailor(instance);
    EXPECT_TRUE(tight.fits);
    for (int rank = 0; rank < instance.rank_count; ++rank) {
      EXPECT_LE(tight.simulation.peak_memory[static_cast<std::size_t>(rank)],
                instance.options.memory[static_cast<std::size_t>(rank)]);
    }
    EXPECT_GE(tight.simulation.iteration.value, 0.999 * free.simulation.iteration.value);
    bound += tight.simulation.iteration.value > free.simulation.iteration.value ? 1 : 0;
    for (Bytes& memory : instance.options.memory) memory = Bytes{1};
    EXPECT_FALSE(tailor(instance).fits);
  }
  EXPECT_GT(bound, 10);
}

TEST(Tailor, IsTheSameEveryTime) {
  std::mt19937_64 engine(9);
  const Instance instance = random_instance(engine, true);
  EXPECT_EQ(tailor(instance).compute, tailor(instance).compute);
}

}  // namespace
}  // namespace motley

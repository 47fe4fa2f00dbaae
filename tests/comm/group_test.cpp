#include "motley/comm/group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "motley/comm/gather.h"
#include "ranks.h"

namespace motley {
namespace {

/// Values whose sum depends on the order of addition.
template <typename Element>
std::vector<Element> awkward_values(std::size_t count, int rank) {
  std::mt19937_64 random(static_cast<unsigned>(rank) + 1);
  std::uniform_real_distribution<double> exponent(-20.0, 20.0);
  std::vector<Element> values(count);
  for (Element& value : values) {
    value = static_cast<Element>(std::exp2(exponent(random)) * ((random() & 1) != 0 ? 1.0 : -1.0));
  }
  return values;
}

template <typename Element>
std::vector<Element> sum_in_rank_order(std::size_t count, int size) {
  std::vector<Element> sum = awkward_values<Element>(count, 0);
  for (int rank = 1; rank < size; ++rank) {
    const std::vector<Element> more = awkward_values<Element>(count, rank);
    for (std::size_t i = 0; i < count; ++i) sum[i] += more[i];
  }
  return sum;
}

template <typename Element>
bool same_bits(const std::vector<Element>& a, const std::vector<Element>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Element)) == 0);
}

TEST(AllReduce, EqualsThePlainLoopBitForBitOnEveryRankAtEverySize) {
  for (const int size : {1, 2, 3, 4}) {
    run_ranks(size, with_deadline(10), [size](Communicator& comm) {
      for (const std::size_t count : {0, 1, 2, 5, 1000, 20'001, 100'003}) {
        std::vector<float> values = awkward_values<float>(count, comm.rank());
        comm.world().all_reduce_sum(values, "gradients");
        EXPECT_TRUE(same_bits(values, sum_in_rank_order<float>(count, size))) << count << " floats, " << size;
        std::vector<double> doubles = awkward_values<double>(count, comm.rank());
        comm.world().all_reduce_sum(doubles, "norms");
        EXPECT_TRUE(same_bits(doubles, sum_in_rank_order<double>(count, size))) << count << " doubles, " << size;
      }
    });
  }
}

TEST(AllReduce, RunsSeveralAsynchronousOnesInOrder) {
  constexpr int kSize = 3;
  run_ranks(kSize, with_deadline(10), [](Communicator& comm) {
    const std::vector<std::size_t> counts{50'000, 3, 70'000, 1, 40'000};
    std::vector<std::vector<float>> values;
    std::vector<Work> works;
    for (const std::size_t count : counts) values.push_back(awkward_values<float>(count, comm.rank()));
    for (auto& each : values) works.push_back(comm.world().all_reduce_sum_async(each, "bucket"));
    for (Work& work : works) work.wait();
    for (std::size_t i = 0; i < counts.size(); ++i) {
      EXPECT_TRUE(same_bits(values[i], sum_in_rank_order<float>(counts[i], kSize))) << i;
    }
  });
}

TEST(AllGather, PutsEveryRanksBytesAtItsPlace) {
  run_ranks(3, with_deadline(10), [](Communicator& comm) {
    for (const std::size_t size : {0, 1, 5, 100'000}) {
      const std::vector<char> mine(size, static_cast<char>('a' + comm.rank()));
      std::vector<char> all(size * 3);
      comm.world().all_gather(bytes_of(mine), bytes_of(all), "gather");
      const std::string expected = std::string(size, 'a') + std::string(size, 'b') + std::string(size, 'c');
      EXPECT_EQ(std::string(all.begin(), all.end()), expected);
    }
  });
}

TEST(Barrier, LetsNobodyPassBeforeTheLastHasCome) {
  constexpr int kSize = 3;
  std::atomic<int> arrived{0};
  run_ranks(kSize, with_deadline(10), [&](Communicator& comm) {
    for (int round = 1; round <= 20; ++round) {
      ++arrived;
      comm.world().barrier("step");
      EXPECT_GE(arrived.load(), kSize * round);
      comm.world().barrier("step end");
    }
  });
}

TEST(Group, OfSomeRanksWorksBesideAnotherAndBesideChannels) {
  run_ranks(4, with_deadline(10), [](Communicator& comm) {
    const bool even = comm.rank() % 2 == 0;
    const auto replicas = comm.group(even ? std::vector<int>{0, 2} : std::vector<int>{3, 1});
    EXPECT_EQ(replicas->size(), 2);
    EXPECT_EQ(replicas->ranks(), even ? (std::vector<int>{0, 2}) : (std::vector<int>{1, 3}));
    EXPECT_EQ(replicas->index(), comm.rank() / 2);
    // A channel message that is not received yet holds up no collective of the same ranks.
    const int other = (comm.rank() + 2) % 4;
    const std::vector<char> out(3'000'000, 'x');
    Work sent = comm.to(other).send(bytes_of(out), "early");
    std::vector<double> rank{static_cast<double>(comm.rank())};
    replicas->all_reduce_sum(rank, "replicas");
    EXPECT_EQ(rank[0], even ? 2.0 : 4.0);
    std::vector<char> in(3'000'000);
    comm.from(other).receive(bytes_of(in), "late").wait();
    sent.wait();
    EXPECT_EQ(in, out);
  });
}

TEST(Group, OfOneRankNeedsNobody) {
  run_ranks(2, with_deadline(10), [](Communicator& comm) {
    const auto alone = comm.group({comm.rank()});
    std::vector<float> values{1.0F, 2.0F};
    alone->all_reduce_sum(values, "alone");
    alone->barrier("alone");
    EXPECT_THAT(values, testing::ElementsAre(1.0F, 2.0F));
  });
}

TEST(Group, NamesBothOperationsWhenRanksAreAtDifferentOnes) {
  run_ranks(2, with_deadline(10), [](Communicator& comm) {
    std::vector<float> values(1);
    const std::string failure = failure_of([&] {
      if (comm.rank() == 0) {
        comm.world().barrier("0UPDATE");
        comm.world().barrier("next");
      } else {
        comm.world().all_reduce_sum(values, "1NORM");
        comm.world().barrier("next");
      }
    });
    EXPECT_THAT(failure, testing::AnyOf("rank 0 is at the barrier 0UPDATE while rank 1 is at the all-reduce 1NORM",
                                        "rank 1 is at the all-reduce 1NORM while rank 0 is at the barrier 0UPDATE"));
  });
}

TEST(Group, OfDifferentRanksOnTheTwoSidesIsRefused) {
  run_ranks(3, with_deadline(1), [](Communicator& comm) {
    const std::string failure = failure_of([&] {
      if (comm.rank() == 0) (void)comm.group({0, 1});
      if (comm.rank() == 1) (void)comm.group({0, 1, 2});
    });
    if (comm.rank() == 0) {
      EXPECT_THAT(failure, testing::HasSubstr("of different ranks"));
    }
    if (comm.rank() == 1) {
      EXPECT_THAT(failure, testing::HasSubstr("rank 2 did not connect to rank 1"));
    }
  });
}

TEST(Gather, GivesEveryRankTheTextsOfAllWhateverTheirLength) {
  run_ranks(3, with_deadline(10), [](Communicator& comm) {
    const std::string mine(static_cast<std::size_t>(comm.rank()) * 1000, static_cast<char>('a' + comm.rank()));
    EXPECT_EQ(gather(comm, mine, "texts"),
              (std::vector<std::string>{"", std::string(1000, 'b'), std::string(2000, 'c')}));
    EXPECT_EQ(gather(comm, std::string(), "empty"), std::vector<std::string>(3));
    EXPECT_EQ(gather(comm, std::vector{1.0 * comm.rank(), 7.0}, "values"), (std::vector{0.0, 7.0, 1.0, 7.0, 2.0, 7.0}));
  });
}

}  // namespace
}  // namespace motley

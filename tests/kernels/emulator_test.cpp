#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/faulty_kernels.h"

namespace motley::kernels {
namespace {

using testing::HasSubstr;

std::string complaint(const std::function<void()>& kernel) {
  try {
    kernel();
  } catch (const emulator::KernelError& error) {
    return error.what();
  }
  return "";
}

class Emulator : public testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override { emulator::set_seed(GetParam()); }
};

TEST_P(Emulator, RunsBarriersInAnyOrderOfThreads) {
  std::vector<int> values(1024);
  std::iota(values.begin(), values.end(), 0);
  reverse_in_shared(values.data(), 1024, true);
  for (int i = 0; i < 1024; ++i) EXPECT_EQ(values[i], 1023 - i);
}

TEST_P(Emulator, ShufflesVotesAndAtomicsAreThoseOfAWarp) {
  std::vector<int> values(32);
  std::iota(values.begin(), values.end(), 1);
  sum_of_warp(values.data());
  EXPECT_EQ(values[0], 32 * 33 / 2);
  std::vector<unsigned> votes(32);
  votes_of_warp(votes.data());
  for (const unsigned vote : votes) EXPECT_EQ(vote, 0x49249249U);
  shuffle_with_mask(values.data(), 0xffffffffU);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(values[i], i ^ 1);
  unsigned counter = 0;
  count_threads(&counter, 5, true);
  EXPECT_EQ(counter, 160U);
  std::vector<int> blocks(std::size_t{5} * 64, -1);
  write_own_block(blocks.data(), 5);
  for (int i = 0; i < 5 * 64; ++i) EXPECT_EQ(blocks[i], i / 64);
}

TEST_P(Emulator, AtomicsSumAndFindTheLargestOverAllBlocks) {
  float sum = 0.0F;
  unsigned largest = 0;
  sum_and_largest(&sum, &largest, 3);
  EXPECT_EQ(sum, 3 * 31 * 32 / 2.0F);
  EXPECT_EQ(largest, 95U);
}

TEST_P(Emulator, AnyAndAllAreThoseOfTheMask) {
  for (const auto& [least, expected] : {std::pair{0U, 3U}, std::pair{5U, 1U}, std::pair{32U, 0U}}) {
    std::vector<unsigned> votes(32);
    std::iota(votes.begin(), votes.end(), 0U);
    any_and_all(votes.data(), least);
    EXPECT_EQ(votes, std::vector<unsigned>(32, expected));
  }
}

std::vector<unsigned> order_of_threads(std::uint64_t seed) {
  emulator::set_seed(seed);
  unsigned counter = 0;
  std::vector<unsigned> tickets(256);
  tickets_of_block(&counter, tickets.data(), 256);
  return tickets;
}

TEST(EmulatorOrder, IsDrawnFromTheSeed) {
  const std::vector<unsigned> one = order_of_threads(1);
  EXPECT_EQ(order_of_threads(1), one);
  EXPECT_NE(order_of_threads(2), one);
  EXPECT_FALSE(std::is_sorted(one.begin(), one.end()));
  std::vector<unsigned> all = one;
  std::sort(all.begin(), all.end());
  for (unsigned i = 0; i < 256; ++i) EXPECT_EQ(all[i], i);
}

TEST_P(Emulator, NamesABarrierThatNotAllThreadsReach) {
  std::vector<int> values(64);
  EXPECT_EQ(complaint([&] { barrier_in_branch(values.data(), 64, false); }), "");
  EXPECT_THAT(complaint([&] { barrier_in_branch(values.data(), 64, true); }), HasSubstr("no thread can go on"));
}

TEST_P(Emulator, NamesAWrongShuffleMask) {
  std::vector<int> values(32);
  EXPECT_THAT(complaint([&] { shuffle_with_mask(values.data(), 0x0000ffffU); }), HasSubstr("is not in the mask"));
  EXPECT_THAT(complaint([&] { shuffle_with_mask(values.data(), 0x55555555U); }), HasSubstr("not in the mask"));
  EXPECT_THAT(complaint([&] { shuffle_in_branch(values.data()); }),
              HasSubstr("waits in a warp operation for the lanes 0xffffffff"));
}

#ifdef MOTLEY_EMULATOR_SEES_RACES

TEST_P(Emulator, FindsAMissingSyncthreads) {
  std::vector<int> values(256);
  EXPECT_EQ(complaint([&] { reverse_in_shared(values.data(), 256, true); }), "");
  EXPECT_THAT(complaint([&] { reverse_in_shared(values.data(), 256, false); }), HasSubstr("race: thread "));
}

TEST_P(Emulator, EveryBlockHasSharedMemoryOfItsOwnThatHoldsNothingYet) {
  std::vector<int> values(192);
  EXPECT_EQ(complaint([&] { sum_of_block(values.data(), 3, true); }), "");
  EXPECT_EQ(values, std::vector<int>(192, 63 * 64 / 2));
  EXPECT_THAT(complaint([&] { sum_of_block(values.data(), 3, false); }),
              HasSubstr("changes atomically shared memory that no thread of its block wrote"));
}

TEST_P(Emulator, FindsAMissingSyncwarp) {
  std::vector<int> values(32);
  EXPECT_EQ(complaint([&] { neighbour_in_warp(values.data(), true); }), "");
  EXPECT_THAT(complaint([&] { neighbour_in_warp(values.data(), false); }), HasSubstr("race: thread "));
}

TEST_P(Emulator, FindsBlocksThatChangeTheSameWord) {
  unsigned counter = 0;
  EXPECT_EQ(complaint([&] { count_threads(&counter, 3, true); }), "");
  EXPECT_THAT(complaint([&] { count_threads(&counter, 3, false); }), HasSubstr("race: thread "));
}

#endif

#ifdef __SANITIZE_ADDRESS__

TEST(EmulatorDeathTest, AddressSanitizerSeesAWriteOutOfBounds) {
  EXPECT_DEATH(
      {
        std::vector<int> values(16);
        write_beyond(values.data(), 16, 32);
      },
      "heap-buffer-overflow");
  std::vector<int> values(17);
  write_beyond_shared(values.data(), 16);
  EXPECT_DEATH(write_beyond_shared(values.data(), 17), "global-buffer-overflow");
}

#endif

INSTANTIATE_TEST_SUITE_P(Seeds, Emulator, testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace motley::kernels

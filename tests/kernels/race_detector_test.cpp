#include "motley/kernels/emulator/race_detector.h"

#include <gtest/gtest.h>

namespace motley::kernels::emulator {
namespace {

using Access = RaceDetector::Access;

class Races : public testing::Test {
 protected:
  void SetUp() override { races.begin_block(64); }
  bool race(std::uint32_t thread, Access kind, std::uintptr_t address = 100, std::uint32_t block = 0) {
    return !races.access({block, thread}, address, 4, kind).empty();
  }
  RaceDetector races;
};

TEST_F(Races, TwoReadsAndTwoAtomicsAreNone) {
  EXPECT_FALSE(race(0, Access::Read));
  EXPECT_FALSE(race(1, Access::Read));
  EXPECT_FALSE(race(0, Access::Atomic, 200));
  EXPECT_FALSE(race(1, Access::Atomic, 200));
}

TEST_F(Races, AnythingElseIsOne) {
  for (const auto& [first, second] : {std::pair(Access::Read, Access::Write), std::pair(Access::Write, Access::Read),
                                      std::pair(Access::Write, Access::Write), std::pair(Access::Atomic, Access::Read),
                                      std::pair(Access::Write, Access::Atomic)}) {
    RaceDetector fresh;
    fresh.begin_block(64);
    EXPECT_EQ(fresh.access({0, 0}, 100, 4, first), "");
    EXPECT_NE(fresh.access({0, 1}, 100, 4, second), "");
  }
}

TEST_F(Races, OverlapByOneByteCounts) {
  EXPECT_FALSE(race(0, Access::Write, 100));
  EXPECT_FALSE(race(1, Access::Write, 104));
  EXPECT_TRUE(race(2, Access::Write, 103));
}

TEST_F(Races, ABarrierOrdersTheBlockAndNoOtherBlock) {
  EXPECT_FALSE(race(0, Access::Write));
  races.barrier();
  EXPECT_FALSE(race(40, Access::Read));
  races.begin_block(64);
  EXPECT_TRUE(race(0, Access::Write, 100, 1));
}

TEST_F(Races, SharedMemoryIsAnotherOneInEachBlock) {
  const auto access = [&](std::uint32_t block, std::uint32_t thread, Access kind) {
    return races.access({block, thread}, 100, 4, kind, RaceDetector::Memory::Shared);
  };
  EXPECT_NE(access(0, 0, Access::Read), "");  // of what nobody wrote
  EXPECT_NE(access(0, 0, Access::Atomic), "");
  EXPECT_EQ(access(0, 0, Access::Write), "");
  EXPECT_NE(access(0, 1, Access::Read), "");
  races.begin_block(64);
  EXPECT_EQ(access(1, 1, Access::Write), "");
  races.barrier();
  EXPECT_EQ(access(1, 40, Access::Read), "");
  EXPECT_EQ(access(1, 41, Access::Read), "");
  races.begin_block(64);
  EXPECT_NE(access(2, 0, Access::Read), "");
}

TEST_F(Races, AWarpBarrierOrdersTheLanesOfItsMask) {
  EXPECT_FALSE(race(0, Access::Write, 100));
  EXPECT_FALSE(race(0, Access::Write, 200));
  EXPECT_FALSE(race(0, Access::Write, 300));
  races.warp_barrier(0, 0b11);
  EXPECT_FALSE(race(1, Access::Read, 100));
  EXPECT_TRUE(race(2, Access::Read, 200));
  EXPECT_TRUE(race(32, Access::Read, 300));
}

TEST_F(Races, OrderIsTransitive) {
  EXPECT_FALSE(race(0, Access::Write));
  races.warp_barrier(0, 0b011);
  races.warp_barrier(0, 0b110);
  EXPECT_FALSE(race(2, Access::Read));
}

TEST_F(Races, WhatComesAfterTheBarrierIsNotOrderedByIt) {
  races.warp_barrier(0, 0b11);
  EXPECT_FALSE(race(0, Access::Write));
  EXPECT_TRUE(race(1, Access::Read));
}

TEST_F(Races, AReadIsRememberedBesideALaterOne) {
  EXPECT_FALSE(race(0, Access::Read));
  EXPECT_FALSE(race(1, Access::Read));
  races.warp_barrier(0, 0b110);  // lane 2 is ordered after lane 1, not after lane 0
  EXPECT_TRUE(race(2, Access::Write));
}

}  // namespace
}  // namespace motley::kernels::emulator

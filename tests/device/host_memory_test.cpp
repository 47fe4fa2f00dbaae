#include "motley/device/host_memory.h"

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "motley/base/error.h"

namespace motley {
namespace {

TEST(HostMemory, CountsLiveAndPeakBytesOfTensors) {
  HostMemory memory = HostMemory::install();
  {
    const at::Tensor first = at::empty({1000}, at::kFloat);
    EXPECT_EQ(memory.counts().live, Bytes{4000});
    { const at::Tensor second = at::empty({500}, at::kFloat); }
    EXPECT_EQ(memory.counts().live, Bytes{4000});
    EXPECT_EQ(memory.counts().peak, Bytes{6000});
    EXPECT_EQ(memory.counts().allocations, 2);
    memory.reset_peak();
    EXPECT_EQ(memory.counts().peak, Bytes{4000});
  }
  EXPECT_EQ(memory.counts().live, Bytes{0});
}

TEST(HostMemory, AlignsTensorsTo64Bytes) {
  (void)HostMemory::install();
  for (const int size : {1, 3, 17, 1001}) {
    const at::Tensor tensor = at::empty({size}, at::kByte);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data_ptr()) % 64, 0U) << size;
  }
}

TEST(HostMemory, RefusesWhatGoesOverTheCapAndSaysHowMuch) {
  HostMemory memory = HostMemory::install(Bytes{10000});
  const at::Tensor held = at::empty({1500}, at::kFloat);
  try {
    const at::Tensor over = at::empty({1500}, at::kFloat);
    FAIL() << "12000 bytes fit under a cap of 10000";
  } catch (const Fault& fault) {
    EXPECT_THAT(fault.what(),
                testing::AllOf(testing::HasSubstr("asked for 6000"), testing::HasSubstr("6000 bytes live"),
                               testing::HasSubstr("cap is 10000")));
  }
  EXPECT_EQ(memory.counts().live, Bytes{6000});
  const at::Tensor fits = at::empty({1000}, at::kFloat);  // exactly at the cap
  memory.set_cap(std::nullopt);
  EXPECT_NO_THROW(at::empty({100000}, at::kFloat));
}

TEST(HostMemory, ASecondStepOfTheSameSizesTakesNothingFromTheSystem) {
  HostMemory memory = HostMemory::install();
  const auto step = [] {
    std::vector<at::Tensor> kept;
    for (const std::int64_t size : {1000, 77, 1000, 5, 30000}) {
      kept.push_back(at::empty({size}, at::kFloat));
      const at::Tensor passing = at::empty({2 * size + 1}, at::kFloat);
    }
  };
  step();
  const HostMemoryCounts first = memory.counts();
  EXPECT_EQ(first.live, Bytes{0});
  if (first.cached == Bytes{0}) {
    GTEST_SKIP() << "built with AddressSanitizer: nothing is cached";
  }
  EXPECT_LE(first.cached.value, (first.peak.value + 10 * 64) * 9 / 8);
  step();
  const std::int64_t settled = memory.counts().fresh;
  step();
  EXPECT_EQ(memory.counts().allocations, 3 * first.allocations);
  EXPECT_EQ(memory.counts().fresh, settled);
}

TEST(HostMemory, WhatIsKeptMakesRoomForOtherSizes) {
  HostMemory memory = HostMemory::install();
  for (std::int64_t size = 1; size < 200; ++size) {
    const at::Tensor tensor = at::empty({1000 * size}, at::kFloat);
    EXPECT_LE(memory.counts().cached.value + memory.counts().live.value, (4 * 1000 * size + 64) * 9 / 8);
  }
}

TEST(HostMemory, ReadsBlocksOfAnEarlierAllocatorFromItsOwnCounters) {
  HostMemory earlier = HostMemory::install();
  at::Tensor old = at::empty({100}, at::kFloat);
  HostMemory later = HostMemory::install();
  old.reset();
  EXPECT_EQ(earlier.counts().live, Bytes{0});
  EXPECT_EQ(later.counts().live, Bytes{0});
}

}  // namespace
}  // namespace motley

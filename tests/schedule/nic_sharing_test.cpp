#include "motley/schedule/nic_sharing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"
#include "reference_simulator.h"

namespace motley {
namespace {

const BytesPerSecond kNoLimit{0.0};

/// Starts and ends messages of `bytes` that all start at 0; their ends by channel.
std::vector<double> ends(NicSharing& nics, const std::vector<double>& bytes, const std::vector<double>& alone_s) {
  std::vector<double> end_s(bytes.size(), -1.0);
  for (std::size_t c = 0; c < bytes.size(); ++c) nics.start(c, 0.0, bytes[c], alone_s[c]);
  for (std::size_t done = 0; done < bytes.size(); ++done) {
    std::size_t next = bytes.size();
    for (std::size_t c = 0; c < bytes.size(); ++c) {
      if (end_s[c] < 0.0 && (next == bytes.size() || nics.end(c) < nics.end(next))) next = c;
    }
    end_s[next] = nics.end(next);
    nics.finish(next);
  }
  return end_s;
}

TEST(NicSharing, KEqualMessagesTakeKTimesAsLong) {
  for (int k = 1; k <= 6; ++k) {
    NicSharing nics(std::vector<Nic>{{BytesPerSecond{100.0}, kNoLimit}, {}}, std::vector<int>(k, 0),
                    std::vector<int>(k, 1));
    for (const double end_s : ends(nics, std::vector<double>(k, 200.0), std::vector<double>(k, 2.0))) {
      EXPECT_DOUBLE_EQ(end_s, 2.0 * k);
    }
  }
}

TEST(NicSharing, WhatASlowMessageLeavesTheOthersShare) {
  // 100 B/s: a link of 10 B/s leaves 45 to each of the two others, until it alone is left.
  NicSharing nics(std::vector<Nic>{{}, {kNoLimit, BytesPerSecond{100.0}}}, {0, 0, 0}, {1, 1, 1});
  const std::vector<double> end_s = ends(nics, {90.0, 45.0, 90.0}, {9.0, 0.5, 1.0});
  EXPECT_DOUBLE_EQ(end_s[0], 9.0);
  EXPECT_DOUBLE_EQ(end_s[1], 1.0);
  EXPECT_DOUBLE_EQ(end_s[2], 1.5);  // 45 bytes in the first second, then 90 B/s
}

TEST(NicSharing, AMessageThatIsNeverSlowedDownTakesItsLinksTimeToTheBit) {
  NicSharing nics(std::vector<Nic>{{BytesPerSecond{1000.0}, BytesPerSecond{1000.0}}, {}}, {0, 0}, {1, 1});
  nics.start(0, 0.1, 17.0, 0.3);
  nics.start(1, 0.2, 23.0, 0.7);
  EXPECT_EQ(nics.end(0), 0.1 + 0.3);
  EXPECT_EQ(nics.end(1), 0.2 + 0.7);
}

TEST(NicSharing, RatesAreMaxMinFair) {
  std::mt19937_64 random(7);
  const auto whole = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); };
  const auto real = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(random);
  };
  for (int round = 0; round < 300; ++round) {
    const int hosts = whole(2, 5);
    std::vector<Nic> nics(static_cast<std::size_t>(hosts));
    for (Nic& nic : nics) {
      nic.send.value = whole(0, 3) == 0 ? 0.0 : real(10.0, 100.0);
      nic.receive.value = whole(0, 3) == 0 ? 0.0 : real(10.0, 100.0);
    }
    std::vector<int> from, to;
    std::vector<double> wants, limits;
    std::vector<std::vector<int>> ports(2 * nics.size());
    for (int c = 0; c < whole(1, 12); ++c) {
      from.push_back(whole(0, hosts - 1));
      to.push_back((from.back() + whole(1, hosts - 1)) % hosts);
      wants.push_back(whole(0, 3) == 0 ? 40.0 : real(5.0, 80.0));
      ports[from.back()].push_back(c);
      ports[hosts + to.back()].push_back(c);
    }
    for (const Nic& nic : nics) limits.push_back(nic.send.value);
    for (const Nic& nic : nics) limits.push_back(nic.receive.value);
    // So many bytes that nothing ends: the time of the end tells the rate.
    constexpr double kBytes = 1e6;
    NicSharing sharing(nics, from, to);
    for (std::size_t c = 0; c < wants.size(); ++c) sharing.start(c, 0.0, kBytes, kBytes / wants[c]);
    const std::vector<double> rates = fair_rates(wants, ports, limits);
    for (std::size_t c = 0; c < wants.size(); ++c) EXPECT_NEAR(kBytes / sharing.end(c), rates[c], 1e-6 * rates[c]);
  }
}

}  // namespace
}  // namespace motley

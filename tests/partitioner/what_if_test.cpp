#include "motley/partitioner/what_if.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/partitioner/explain.h"

namespace motley {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string complaint(const Profile& profile, const std::string& change) {
  try {
    static_cast<void>(what_if(profile, change));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(WhatIf, ChangesWhatItNamesAndNothingElse) {
  Profile profile = plain_profile(4, {0, 1, 0});
  const std::string other = profile.cluster.devices[1].type;
  ASSERT_NE(profile.cluster.devices[0].type, other);
  profile.cluster.devices[1].memory = Bytes{123'456'789};
  profile.cluster.devices[1].usd_per_hour = 7.0;

  const Profile typed = what_if(profile, "device 2 = " + other);
  EXPECT_EQ(typed.cluster.devices[2].type, other);
  EXPECT_EQ(typed.cluster.devices[2].memory, Bytes{123'456'789});
  EXPECT_DOUBLE_EQ(typed.cluster.devices[2].usd_per_hour, 7.0);
  EXPECT_EQ(typed.cluster.devices[2].name, "rank2");
  EXPECT_EQ(fingerprint(what_if(profile, "device rank2 = " + other)), fingerprint(typed));

  EXPECT_EQ(what_if(profile, "device 0 memory = 2GB").cluster.devices[0].memory, Bytes{2'000'000'000});
  EXPECT_EQ(what_if(profile, "device 1 memory + 1MB").cluster.devices[1].memory, Bytes{124'456'789});
  EXPECT_DOUBLE_EQ(what_if(profile, "device 0 price = 2.5").cluster.devices[0].usd_per_hour, 2.5);
  const Profile linked = what_if(profile, "link 0 -> 1 x 2");
  const Bytes message{1'000'000};
  EXPECT_DOUBLE_EQ(linked.cluster.links[0][1].time(message).value, profile.cluster.links[0][1].time(message).value / 2);
  EXPECT_EQ(linked.cluster.links[1][0].time(message), profile.cluster.links[1][0].time(message));
  const Profile fewer = what_if(profile, "device 1 unused");
  EXPECT_EQ(fewer.cluster.size(), 2);
  EXPECT_EQ(fewer.cluster.devices[1].name, "rank2");
  for (const Profile& changed : {typed, linked, fewer}) EXPECT_NO_THROW(validate(changed, "changed"));
}

TEST(WhatIf, TransportsGoWithTheirDevices) {
  Profile profile = plain_profile(4, {0, 1, 0});
  for (const auto& [from, to] : {std::pair(0, 1), std::pair(2, 0)}) {
    profile.cluster.transports.push_back({from, to, "nccl", profile.cluster.links[from][to]});
  }
  const Profile fewer = what_if(profile, "device 1 unused");
  ASSERT_EQ(fewer.cluster.transports.size(), 1U);
  EXPECT_EQ(fewer.cluster.transports[0].from, 1);  // device 2 of before
  EXPECT_EQ(fewer.cluster.transports[0].to, 0);
  EXPECT_NO_THROW(validate(fewer, "changed"));
}

TEST(WhatIf, SaysWhatItDoesNotUnderstand) {
  const Profile profile = plain_profile(4, {0, 1});
  EXPECT_THAT(complaint(profile, "device 9 = x"), HasSubstr("no device 9 found, expected 0 to 1 or a name"));
  EXPECT_THAT(complaint(profile, "device rnk0 unused"), HasSubstr("did you mean \"rank0\"?"));
  EXPECT_THAT(complaint(profile, "device 0 = H900"), HasSubstr("type H900 found, expected one that was profiled: "));
  EXPECT_THAT(complaint(profile, "device 0 memory = -1GB"), HasSubstr("not understood"));
  EXPECT_THAT(complaint(profile, "device 0 price = free"), HasSubstr("found free, expected a number above 0"));
  EXPECT_THAT(complaint(profile, "link 0 -> 0 x 2"), HasSubstr("to itself"));
  EXPECT_THAT(complaint(profile, "link 0 -> 1 x 0"), HasSubstr("found 0, expected a number above 0"));
  EXPECT_THAT(complaint(profile, "more money"), HasSubstr("not understood, expected \"device D = TYPE\""));
}

TEST(WhatIf, CompositionsAreEveryNumberOfEveryType) {
  Profile profile = plain_profile(4, {0, 1, 0});
  for (Device& device : profile.cluster.devices)
    device.usd_per_hour = device.type == profile.cluster.devices[1].type ? 5 : 1;
  const std::vector<Composition> all = compositions(profile.cluster);
  ASSERT_EQ(all.size(), 5u);  // 3 * 2 - 1
  EXPECT_THAT(all[0].devices, ElementsAre(0));
  EXPECT_THAT(all[1].devices, ElementsAre(0, 2));
  EXPECT_THAT(all[2].devices, ElementsAre(1));
  EXPECT_THAT(all[4].devices, ElementsAre(0, 1, 2));
  EXPECT_DOUBLE_EQ(all[4].usd_per_hour, 7.0);
  EXPECT_THAT(all[1].words, HasSubstr("2 x "));
  for (const Composition& of : all) EXPECT_NO_THROW(validate(only_devices(profile, of.devices), "part"));
  EXPECT_THAT(pareto({1, 2, 3, 3}, {9, 9, 5, 4}), ElementsAre(true, false, false, true));
}

}  // namespace
}  // namespace motley

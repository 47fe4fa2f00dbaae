#include "motley/partitioner/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "instances.h"
#include "motley/base/error.h"

namespace motley {
namespace {

using testing::HasSubstr;

TEST(Synthetic, IsAValidProfileThatDependsOnTheSeedAlone) {
  const SyntheticSize size{30, 24, 3, 6, 7};
  const Profile profile = synthetic_profile(size);
  EXPECT_NO_THROW(validate(profile, "synthetic"));
  EXPECT_EQ(profile.model.layers.size(), 30u);
  EXPECT_EQ(profile.cluster.size(), 24);
  std::set<std::string> types;
  std::map<std::string, std::set<std::string>> types_of_host;
  for (const Device& device : profile.cluster.devices) {
    types.insert(device.type);
    types_of_host[device.host].insert(device.type);
  }
  EXPECT_EQ(types.size(), 3u);
  EXPECT_EQ(types_of_host.size(), 6u);
  for (const auto& [host, of] : types_of_host) EXPECT_EQ(of.size(), 1u) << host;
  EXPECT_EQ(fingerprint(synthetic_profile(size)), fingerprint(profile));
  EXPECT_NE(fingerprint(synthetic_profile({30, 24, 3, 6, 8})), fingerprint(profile));
}

TEST(Synthetic, MemoryBindsOnAQuarterOfTheDevices) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Profile profile = synthetic_profile({192, 128, 4, 16, seed});
    const Plan plan = found(find_plan("parametric", profile, synthetic_options())).plan;
    EXPECT_GE(memory_bound_share(plan, profile), 0.25) << "seed " << seed;
  }
}

TEST(Synthetic, CountsThatMakeNoSenseAreRefused) {
  const auto complaint = [](const SyntheticSize& size) -> std::string {
    try {
      static_cast<void>(synthetic_profile(size));
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(complaint({2, 4, 1, 1, 1}), HasSubstr("2 layers"));
  EXPECT_THAT(complaint({8, 0, 1, 1, 1}), HasSubstr("0 devices"));
  EXPECT_THAT(complaint({8, 5000, 1, 1, 1}), HasSubstr("8 layers and 5000 devices found, at most 100000 and 4096"));
  EXPECT_THAT(complaint({8, 4, 3, 2, 1}), HasSubstr("types <= hosts <= devices expected"));
}

}  // namespace
}  // namespace motley

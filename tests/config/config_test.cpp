#include "motley/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "motley/base/error.h"
#include "motley/config/table_reader.h"

namespace motley {
namespace {

using testing::HasSubstr;

std::string complaint(const std::string& text) {
  try {
    (void)parse_config(text, "c.toml");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Config, EmptyFileGivesTheDefaults) {
  const Config config = parse_config("", "c.toml");
  EXPECT_EQ(config.workload, "router");
  EXPECT_EQ(config.devices.ranks, 1);
  EXPECT_FALSE(config.devices.emulated());
}

TEST(Config, NamesLineKeyFoundAndExpected) {
  EXPECT_THAT(complaint("[train]\nsteps = 0\n"),
              HasSubstr("c.toml:2: train.steps: found 0, expected an integer from 1"));
  EXPECT_THAT(complaint("[train]\nlearning_rate = \"x\"\n"),
              HasSubstr("train.learning_rate: found x, expected a number"));
  EXPECT_THAT(complaint("[train]\nclip_norm = nan\n"), HasSubstr("train.clip_norm"));
  EXPECT_THAT(complaint("[devices]\nranks = 2\nspeeds = [0.5]\n"),
              HasSubstr("devices.speeds: found 1 entries, expected 2"));
  EXPECT_THAT(complaint("[devices]\nspeeds = [1.5]\n"), HasSubstr("found 1.5"));
  EXPECT_THAT(complaint("train = 3\n"), HasSubstr("train: found 3, expected a table"));
  EXPECT_THAT(complaint("[train\n"), HasSubstr("c.toml:1: not valid TOML"));
}

TEST(Config, UnknownKeySuggestsTheNearest) {
  EXPECT_THAT(complaint("[train]\nstep = 3\n"), HasSubstr("unknown key \"train.step\", did you mean \"steps\"?"));
  EXPECT_THAT(complaint("[trian]\n"), HasSubstr("did you mean \"train\"?"));
}

TEST(Config, EveryConfigurationInTheTreeIsRead) {
  int read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(MOTLEY_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".toml") {
      EXPECT_NO_THROW((void)read_config(entry.path())) << entry.path();
      ++read;
    }
  }
  EXPECT_GE(read, 1);
}

TEST(Nearest, FindsATypoAndNothingFarAway) {
  EXPECT_EQ(nearest("unifrom", {"exact", "uniform", "parameters"}), "uniform");
  EXPECT_EQ(nearest("zzzzzz", {"exact", "uniform"}), "");
}

}  // namespace
}  // namespace motley

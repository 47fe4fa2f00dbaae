#include "motley/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

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
  EXPECT_THAT(complaint("[devices]\nranks = 2\ntypes = [\"a\", \"b\", \"c\"]\n"),
              HasSubstr("devices.types: found 3 entries, expected 2"));
  EXPECT_THAT(complaint("[devices]\nspeeds = [1.5]\n"), HasSubstr("found 1.5"));
  EXPECT_THAT(complaint("train = 3\n"), HasSubstr("train: found 3, expected a table"));
  EXPECT_THAT(complaint("[train\n"), HasSubstr("c.toml:1: not valid TOML"));
}

TEST(Config, UnknownKeySuggestsTheNearest) {
  EXPECT_THAT(complaint("[train]\nstep = 3\n"), HasSubstr("unknown key \"train.step\", did you mean \"steps\"?"));
  EXPECT_THAT(complaint("[trian]\n"), HasSubstr("did you mean \"train\"?"));
}

std::string complaint_about(const std::vector<std::string>& assignments) {
  try {
    (void)parse_config("[train]\nsteps = 7\n", "c.toml", assignments);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Config, AssignmentsOverruleTheFile) {
  const Config config = parse_config("[train]\nsteps = 7\nseed = 3\n[workload_options]\nwidth = 8\n", "c.toml",
                                     {"train.steps=100", "run_directory=some/where", "devices.ranks = 2",
                                      "devices.speeds = [1.0, 0.5]", "workload_options.width=16", "train.steps=200"});
  EXPECT_EQ(config.train.steps, 200);
  EXPECT_EQ(config.train.seed, 3U);
  EXPECT_EQ(config.run_directory, "some/where") << "a value that is not TOML is text";
  EXPECT_EQ(config.devices.speeds, (std::vector<double>{1.0, 0.5}));
  EXPECT_EQ((*config.workload_options)["width"].value<int>(), 16);
}

TEST(Config, AWrongAssignmentIsNamed) {
  EXPECT_THAT(complaint_about({"train.steps"}), HasSubstr("--set train.steps: expected KEY=VALUE"));
  EXPECT_THAT(complaint_about({"train.steps=0"}),
              HasSubstr("--set train.steps=0: train.steps: found 0, expected an integer from 1"));
  EXPECT_THAT(complaint_about({"train.step=5"}), HasSubstr("did you mean \"steps\"?"));
  EXPECT_THAT(complaint_about({"train=5"}), HasSubstr("train: found 5, expected a table"));
  EXPECT_THAT(complaint_about({"a b=5"}), HasSubstr("--set a b=5: not KEY=VALUE in TOML"));
}

TEST(Config, EveryKeyKnowsItsValueItsOriginAndItsMeaning) {
  const Config config = parse_config("[train]\nsteps = 7\n", "c.toml", {"train.seed=5"});
  const auto key = [&](const std::string& path) {
    const auto found = std::ranges::find(config.keys, path, &ConfigKey::path);
    return found == config.keys.end() ? ConfigKey{} : *found;
  };
  EXPECT_EQ(key("train.steps").value, "7");
  EXPECT_EQ(key("train.steps").origin, "c.toml:2");
  EXPECT_EQ(key("train.seed").value, "5");
  EXPECT_EQ(key("train.seed").origin, "--set train.seed=5");
  EXPECT_EQ(key("train.optimizer").value, "\"adamw\"");
  EXPECT_EQ(key("train.optimizer").origin, "");
  EXPECT_EQ(key("train.beta1").value, "0.9");
  EXPECT_EQ(key("train.clip_norm").value, "1.0");
  EXPECT_EQ(key("profile.micro_batch_sizes").value, "[8, 16, 32, 64]");
  for (const ConfigKey& each : config.keys) {
    EXPECT_NE(each.meaning, "") << each.path;
  }
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

}  // namespace
}  // namespace motley

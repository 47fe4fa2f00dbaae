#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "motley/record/safetensors.h"
#include "program.h"

namespace motley {
namespace {

using testing::HasSubstr;

constexpr const char* kConfig = R"(
run_directory = "{}"
workload = "transformer"
[workload_options]
width = 16
heads = 2
blocks = 1
sequence = 8
vocabulary = 32
samples = 64
[train]
steps = 4
global_batch = 8
optimizer = "sgd"
learning_rate = 0.0
weight_decay = 0.0
)";

std::vector<std::int64_t> integers(const StoredTensor& tensor) {
  std::vector<std::int64_t> values(tensor.data.size() / sizeof(std::int64_t));
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

class Export : public testing::Test {
 protected:
  void SetUp() override { write_text(config_, fmt::format(fmt::runtime(kConfig), (folder_ / "run").string())); }

  TemporaryFolder folder_;
  std::filesystem::path config_ = folder_ / "c.toml";
};

TEST_F(Export, WeightsAreThoseThatTrainingBeginsWith) {
  const Outcome exported = motley_program("export " + config_.string());
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  // Training that changes nothing leaves them as they began.
  write_text(folder_ / "plan.json",
             R"({"motley": "plan", "version": 1, "micro_batches": 4, "micro_batch_size": 2,
                 "stages": [{"layers": [0, 3], "replicas": [{"device": 0}], "warm_up": 1}]})");
  const Outcome trained = motley_on_ranks(
      1, fmt::format("train {} --plan {} --steps 1", config_.string(), (folder_ / "plan.json").string()));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  for (const std::string file : {"layer-000.safetensors", "layer-001.safetensors", "layer-002.safetensors"}) {
    EXPECT_EQ(text_of(folder_ / "run/export/weights" / file), text_of(folder_ / "run/weights" / file)) << file;
  }
}

TEST_F(Export, SamplesOfAStepAreItsBatchInOrder) {
  const Outcome exported =
      motley_program(fmt::format("export {} --steps 3 --out {}", config_.string(), (folder_ / "out").string()));
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  std::vector<std::vector<std::int64_t>> steps;
  for (int step = 0; step < 3; ++step) {
    const SafetensorsFile file(folder_ / "out" / fmt::format("step-{:06d}.safetensors", step));
    const StoredTensor& tokens = file.at("tokens");
    const StoredTensor& targets = file.at("targets");
    EXPECT_EQ(tokens.dtype, DType::Int64);
    ASSERT_EQ(tokens.shape, (std::vector<std::int64_t>{8, 8}));
    ASSERT_EQ(targets.shape, tokens.shape);
    const std::vector<std::int64_t> token = integers(tokens);
    const std::vector<std::int64_t> target = integers(targets);
    for (std::size_t i = 0; i < token.size(); ++i) {
      EXPECT_TRUE(token[i] >= 0 && token[i] < 32);
      if (i % 8 != 7) {
        EXPECT_EQ(target[i], token[i + 1]);  // the next token is what is to be found
      }
    }
    steps.push_back(token);
  }
  EXPECT_NE(steps[0], steps[1]);
  EXPECT_NE(steps[1], steps[2]);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/step-000003.safetensors"));
}

TEST_F(Export, MoreStepsThanTrainingHasAreRefused) {
  const Outcome outcome = motley_program(fmt::format("export {} --steps 5", config_.string()));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--steps: found 5, expected 0 to train.steps = 4"));
}

}  // namespace
}  // namespace motley

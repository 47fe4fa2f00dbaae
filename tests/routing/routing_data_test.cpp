#include "motley/routing/routing_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "motley/base/error.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::filesystem::path kReal = std::filesystem::path(MOTLEY_SOURCE_DIR) / "data/mmlu_pro";

class RoutingFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(kReal, folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string complaint() const {
    try {
      (void)read_routing_data(folder_);
      return "";
    } catch (const InputError& error) {
      return error.what();
    }
  }
  std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / "motley-routing-data";
};

TEST_F(RoutingFolder, IsReadWhole) {
  const RoutingData data = read_routing_data(kReal);
  EXPECT_EQ(data.queries, 10810);
  EXPECT_EQ(data.model_count(), 28U);
  EXPECT_EQ(data.categories.size(), 14U);
  EXPECT_EQ(data.of_split(0).size(), 8405U);
  EXPECT_EQ(data.of_split(1).size(), 1202U);
  EXPECT_EQ(data.of_split(2).size(), 1203U);
  double square = 0.0;
  for (int i = 0; i < 384; ++i) square += data.embeddings[i] * data.embeddings[i];
  EXPECT_NEAR(square, 1.0, 1e-3);
}

TEST_F(RoutingFolder, AMissingFileIsNamed) {
  for (const char* name : {"models.csv", "embeddings.safetensors", "outcomes.safetensors", "meta.json"}) {
    SetUp();
    std::filesystem::remove(folder_ / name);
    EXPECT_THAT(complaint(), HasSubstr(name));
  }
}

TEST_F(RoutingFolder, APriceThatIsNoNumberIsNamedByLine) {
  for (const std::string wrong : {"cheap", "-0.1", "nan", "inf", "0.1x", ""}) {
    std::ofstream(folder_ / "models.csv") << "name,parameters,in,out\nfirst,7,0.1,0.2\nsecond,7," << wrong << ",0.2\n";
    EXPECT_THAT(complaint(), AllOf(HasSubstr("models.csv: line 3"), HasSubstr("found price \"" + wrong + "\"")));
  }
}

TEST_F(RoutingFolder, OutcomesOfAModelWithoutAPriceAreNamed) {
  std::ofstream(folder_ / "models.csv") << "name,parameters,in,out\nonly,7,0.1,0.2\n";
  EXPECT_THAT(complaint(), AllOf(HasSubstr("models.csv: line 2: found model \"only\", expected \"Llama-2-7b-hf\""),
                                 HasSubstr("meta.json")));
}

TEST_F(RoutingFolder, AModelThatStandsTwiceIsNamed) {
  std::ofstream(folder_ / "models.csv") << "name,parameters,in,out\nfirst,7,0.1,0.2\nfirst,7,0.1,0.2\n";
  EXPECT_THAT(complaint(), HasSubstr("models.csv: line 3: found model \"first\" for the second time"));
}

TEST_F(RoutingFolder, ModelsAreAsManyAsTheOutcomesHaveColumns) {
  std::ofstream(folder_ / "meta.json") << R"({"models": ["one"], "categories": ["all"]})";
  EXPECT_THAT(complaint(), HasSubstr("meta.json: models: found 1 names, expected 28"));
}

}  // namespace
}  // namespace motley

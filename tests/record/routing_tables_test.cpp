#include "motley/record/routing_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "motley/base/error.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Four queries (two to train with), two LLMs, embeddings of three halves.
class Tables : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "motley-routing-tables";
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  template <typename Value>
  static StoredTensor stored(DType dtype, std::vector<std::int64_t> shape, const std::vector<Value>& values) {
    return {dtype, std::move(shape), std::as_bytes(std::span(values))};
  }

  /// What is said of the folder as the members have it now; "" where it is sound.
  std::string complaint() {
    write_safetensors(folder_ / "embeddings.safetensors",
                      {{"embeddings", stored(DType::Float16, {4, 3}, embeddings_)}});
    write_safetensors(folder_ / "outcomes.safetensors", {{"correct", stored(DType::UInt8, {4, 2}, correct_)},
                                                         {"answered", stored(DType::UInt8, {4, 2}, answered_)},
                                                         {"output_chars", stored(DType::UInt16, {4, 2}, lengths_)},
                                                         {"input_chars", stored(DType::Int32, inputs_shape_, inputs_)},
                                                         {"category", stored(DType::UInt8, {4}, category_)},
                                                         {"query_id", stored(DType::Int32, {4}, ids_)},
                                                         {"split", stored(DType::UInt8, {4}, split_)}});
    try {
      const RoutingTables tables = read_routing_tables(folder_);
      EXPECT_EQ(tables.queries, 4);
      EXPECT_EQ(tables.embedding_width, 3);
      EXPECT_EQ(tables.models, 2);
      return "";
    } catch (const InputError& error) {
      return error.what();
    }
  }

  std::filesystem::path folder_;
  std::vector<std::uint16_t> embeddings_ = std::vector<std::uint16_t>(12, 0x3C00);  // 1.0
  std::vector<std::uint8_t> correct_{1, 0, 0, 1, 1, 1, 0, 0};
  std::vector<std::uint8_t> answered_{1, 1, 1, 1, 1, 1, 0, 1};
  std::vector<std::uint16_t> lengths_{10, 20, 30, 40, 50, 60, 70, 80};
  std::vector<std::int64_t> inputs_shape_{4};
  std::vector<std::int32_t> inputs_{5, 6, 7, 8};
  std::vector<std::uint8_t> category_{0, 0, 0, 0};
  std::vector<std::int32_t> ids_{70, 71, 72, 73};
  std::vector<std::uint8_t> split_{0, 0, 1, 2};
};

TEST_F(Tables, AreReadWhole) {
  EXPECT_EQ(complaint(), "");
}

TEST_F(Tables, AQueryThatStandsTwiceIsNamedWithItsRows) {
  ids_[1] = 70;
  EXPECT_THAT(complaint(),
              AllOf(HasSubstr("outcomes.safetensors: tensor query_id: query 70"), HasSubstr("rows 0 and 1")));
}

TEST_F(Tables, AQueryToTrainAndToTestWithIsNamedWithBothSplits) {
  ids_[3] = 71;
  EXPECT_THAT(complaint(), AllOf(HasSubstr("query 71 is in train (row 1) and in test (row 3)")));
}

TEST_F(Tables, ASplitWithoutQueriesIsNamed) {
  split_ = {0, 0, 1, 1};
  EXPECT_THAT(complaint(), HasSubstr("no row is 2 (test)"));
  split_ = {0, 0, 1, 3};
  EXPECT_THAT(complaint(), HasSubstr("tensor split: found 3 at row 3"));
}

TEST_F(Tables, AnEmbeddingThatIsNotFiniteIsNamedByItsRow) {
  for (const std::uint16_t half : {std::uint16_t{0x7C00}, std::uint16_t{0xFC00}, std::uint16_t{0x7E01}}) {
    embeddings_[7] = half;
    EXPECT_THAT(complaint(), HasSubstr("tensor embeddings: row 2 has a number that is not finite"));
  }
}

TEST_F(Tables, AnAnswerThatIsNeitherRightNorWrongIsNamed) {
  correct_[5] = 2;
  EXPECT_THAT(complaint(), HasSubstr("tensor correct: found 2 at row 2, column 1, expected 0 or 1"));
}

TEST_F(Tables, ATensorOfAnotherShapeIsNamedWithBoth) {
  inputs_shape_ = {2, 2};
  EXPECT_THAT(complaint(), HasSubstr("tensor input_chars: found int32[2, 2], expected int32[4]"));
}

}  // namespace
}  // namespace motley

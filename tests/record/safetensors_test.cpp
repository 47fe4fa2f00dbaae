#include "motley/record/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <fstream>
#include <sstream>

#include "motley/base/error.h"

namespace motley {
namespace {

class Safetensors : public testing::Test {
 protected:
  Safetensors() : file_(std::filesystem::path(testing::TempDir()) / "motley-test.safetensors") {}
  ~Safetensors() override { std::filesystem::remove(file_); }

  void put(const std::string& text) const { std::ofstream(file_, std::ios::binary | std::ios::trunc) << text; }

  [[nodiscard]] std::string written() const {
    const std::array<float, 6> weights{1, 2, 3, 4, 5, 6};
    const std::array<std::uint8_t, 3> bits{1, 0, 1};
    write_safetensors(file_,
                      {{"weight", {DType::Float32, {2, 3}, std::as_bytes(std::span(weights))}},
                       {"bits", {DType::UInt8, {3}, std::as_bytes(std::span(bits))}}},
                      {{"made_by", "test"}});
    std::ostringstream text;
    text << std::ifstream(file_, std::ios::binary).rdbuf();
    return text.str();
  }

  std::filesystem::path file_;
};

TEST_F(Safetensors, ReadsBackWhatItWrote) {
  (void)written();
  const SafetensorsFile back(file_);
  EXPECT_EQ(back.metadata().at("made_by"), "test");
  const StoredTensor& weight = back.at("weight");
  EXPECT_THAT(weight.shape, testing::ElementsAre(2, 3));
  std::array<float, 6> values{};
  ASSERT_EQ(weight.data.size(), sizeof values);
  std::memcpy(values.data(), weight.data.data(), sizeof values);
  EXPECT_THAT(values, testing::ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THROW((void)back.at("absent"), InputError);
}

TEST_F(Safetensors, CutAtAnyByteIsAnInputError) {
  const std::string whole = written();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    put(whole.substr(0, length));
    EXPECT_THROW(SafetensorsFile{file_}, InputError) << length;
  }
}

TEST_F(Safetensors, HostileHeadersAreInputErrors) {
  const auto with_header = [&](const std::string& header, const std::string& data) {
    const std::uint64_t size = header.size();
    std::string text(sizeof size, '\0');
    std::memcpy(text.data(), &size, sizeof size);
    put(text + header + data);
    try {
      const SafetensorsFile file(file_);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  using testing::HasSubstr;
  EXPECT_EQ(with_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"), "");
  EXPECT_THAT(with_header("[]", ""), HasSubstr("no JSON object"));
  EXPECT_THAT(with_header(R"({"a":{"dtype":"U9","shape":[1],"data_offsets":[0,1]}})", "x"), HasSubstr("type \"U9\""));
  EXPECT_THAT(with_header(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})", "x"), HasSubstr("need 2"));
  EXPECT_THAT(with_header(R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", "x"),
              HasSubstr("leave the file"));
  EXPECT_THAT(with_header(R"({"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,1]}})", "x"),
              HasSubstr("extent"));
  EXPECT_THAT(with_header(R"({"a":{"shape":[1]}})", "x"), HasSubstr("malformed"));
  EXPECT_THAT(with_header(R"({"a":7})", "x"), HasSubstr("malformed"));
  const std::string both = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)";
  EXPECT_EQ(with_header(both + R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", "wxyz"), "");
  EXPECT_THAT(with_header(both + R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "wxyz"),
              HasSubstr("where another one does"));
  EXPECT_THAT(with_header(both + R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", "wxyz"),
              HasSubstr("begins at data byte 1, expected 2"));
}

}  // namespace
}  // namespace motley

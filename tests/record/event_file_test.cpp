#include "motley/record/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "motley/base/error.h"
#include "motley/base/file.h"

namespace motley {
namespace {

TEST(Crc32c, IsThatOfRfc3720) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
}

template <typename Number>
Number number_at(const std::string& bytes, std::size_t at) {
  Number number{};
  std::memcpy(&number, bytes.data() + at, sizeof(Number));
  return number;
}

/// The records of a TFRecord file whose checksums are right; the masking is undone as TensorFlow's readers do it.
std::vector<std::string> records_of(const std::string& bytes) {
  const auto checks = [](std::uint32_t stored, std::string_view data) {
    return std::rotl(stored - 0xA282EAD8U, 15) == crc32c(data);
  };
  std::vector<std::string> records;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = number_at<std::uint64_t>(bytes, at);
    EXPECT_TRUE(checks(number_at<std::uint32_t>(bytes, at + 8), std::string_view(bytes).substr(at, 8)));
    records.push_back(bytes.substr(at + 12, length));
    EXPECT_TRUE(checks(number_at<std::uint32_t>(bytes, at + 12 + length), records.back()));
    at += length + 16;
  }
  return records;
}

// What TensorBoard itself reads is in tests/launcher/tensorboard_test.py.
TEST(EventFile, IsFramedRecordsOfWhichTheFirstNamesTheVersion) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "motley-events";
  std::filesystem::remove_all(folder);
  EventFile events(folder);
  events.scalars(3, std::vector<Scalar>{{"train/loss", 0.5F}});
  events.text("plan", "**two** stages");
  EXPECT_THAT(events.file().filename().string(), testing::StartsWith("events.out.tfevents."));
  const std::vector<std::string> records = records_of(read_text(events.file(), "events"));
  ASSERT_EQ(records.size(), 3U);
  EXPECT_THAT(records[0], testing::HasSubstr("brain.Event:2"));
  EXPECT_THAT(records[1],
              testing::AllOf(testing::HasSubstr("train/loss"), testing::EndsWith(std::string("\x15\0\0\0\x3f", 5))));
  EXPECT_THAT(records[2], testing::HasSubstr("**two** stages"));
  std::filesystem::remove_all(folder);
}

TEST(EventFile, ThatCannotBeWrittenIsNamed) {
  EXPECT_THROW(EventFile("/proc/nowhere"), Fault);
}

}  // namespace
}  // namespace motley

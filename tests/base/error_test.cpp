#include "motley/base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace motley {
namespace {

TEST(Check, NamesTheConditionAndTheMessageButNoFolder) {
  try {
    MOTLEY_CHECK(1 + 1 == 3, "stage {}", 4);
    FAIL() << "did not throw";
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("1 + 1 == 3"));
    EXPECT_THAT(error.what(), testing::HasSubstr("stage 4"));
    EXPECT_THAT(error.what(), testing::HasSubstr("error_test.cpp"));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("/")));
  }
}

TEST(MessageOf, LeavesOutLibTorchsStack) {
  EXPECT_EQ(message_of(Fault("lost\nand found")), "lost\nand found");
  EXPECT_EQ(message_of(std::runtime_error(
                "CUDA out of memory. Tried to allocate 2.00 GiB.\nException raised from malloc at "
                "/pytorch/c10/cuda/CUDACachingAllocator.cpp:1574 (most recent call first):\nframe #0: c10::Error")),
            "CUDA out of memory. Tried to allocate 2.00 GiB.");
}

}  // namespace
}  // namespace motley

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

}  // namespace
}  // namespace motley

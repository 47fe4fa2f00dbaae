#include "motley/base/tensor_spec.h"

#include <gtest/gtest.h>

namespace motley {
namespace {

const Boundary kEncoder{{"hidden", {128, 256}, DType::Float32, true}, {"mask", {128}, DType::Bool, false}};

TEST(Boundary, CountsEveryTensorForwardAndOnlyGradientsBack) {
  EXPECT_EQ(forward_bytes(kEncoder, 4).value, 4 * (128 * 256 * 4 + 128));
  EXPECT_EQ(backward_bytes(kEncoder, 4).value, 4 * 128 * 256 * 4);
}

TEST(Boundary, PrintsNameTypeShapeAndMissingGradient) {
  EXPECT_EQ(to_string(kEncoder), "hidden float32[128, 256], mask bool[128] without gradient");
  EXPECT_EQ(to_string(Boundary{}), "nothing");
}

TEST(DTypeNames, ReadBackWhatTheyPrint) {
  for (const DType dtype : {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16, DType::Int64, DType::Int32,
                            DType::UInt8, DType::Bool}) {
    EXPECT_EQ(dtype_by_name(name_of(dtype)), dtype);
  }
  EXPECT_FALSE(dtype_by_name("float31").has_value());
}

}  // namespace
}  // namespace motley

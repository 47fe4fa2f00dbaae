#include "motley/plan/wire.h"

namespace motley {
namespace {

constexpr std::int64_t kFloat = 4;
constexpr std::int64_t kBlock = 64;

}  // namespace

Bytes wire_bytes(const Boundary& boundary, std::int64_t samples, const std::string& wire, Pass pass) {
  Bytes total;
  for (const TensorSpec& tensor : boundary) {
    if (pass == Pass::Backward && !tensor.has_gradient) {
      continue;
    }
    const Bytes plain = tensor.bytes(samples);
    if (tensor.dtype != DType::Float32 || wire == "float32") {
      total += plain;
    } else if (wire == "bfloat16") {
      total += Bytes{plain.value / 2};
    } else {
      const std::int64_t blocks = (plain.value / kFloat + kBlock - 1) / kBlock;
      total += Bytes{blocks * (kBlock + kFloat)};
    }
  }
  return total;
}

}  // namespace motley

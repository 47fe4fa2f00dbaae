#include "motley/stage/wire.h"

#include <ATen/ATen.h>

#include "motley/base/error.h"
#include "motley/kernels/bfloat16/bfloat16.h"
#include "motley/kernels/boundary_codec/boundary_codec.h"

namespace motley {

using kernels::Element;
using kernels::Rounding;

Wire wire_by_name(const std::string& name) {
  if (name == "float32") return Wire::Float32;
  if (name == "bfloat16") return Wire::BFloat16;
  if (name == "int8") return Wire::Int8;
  throw InputError::of("wire: found \"{}\", expected \"float32\", \"bfloat16\" or \"int8\"", name);
}

bool is_encoded(Wire wire, const at::Tensor& tensor) {
  return wire != Wire::Float32 && tensor.scalar_type() == at::kFloat;
}

namespace {

std::int64_t encoded_bytes(Wire wire, std::int64_t count) {
  const auto values = static_cast<std::size_t>(count);
  return static_cast<std::int64_t>(wire == Wire::Int8 ? kernels::encoded_bytes(values)
                                                      : values * sizeof(std::uint16_t));
}

}  // namespace

at::Tensor room_for_encoded(Wire wire, const at::Tensor& tensor) {
  return at::empty({encoded_bytes(wire, tensor.numel())}, tensor.options().dtype(at::kByte));
}

Bytes crossing_bytes(Wire wire, const TensorSpec& spec, std::int64_t samples) {
  const Bytes plain = spec.bytes(samples);
  if (wire == Wire::Float32 || spec.dtype != DType::Float32) return plain;
  return Bytes{encoded_bytes(wire, plain.value / static_cast<std::int64_t>(sizeof(float)))};
}

at::Tensor encode(Wire wire, const at::Tensor& tensor, bool stochastic, std::uint64_t key) {
  if (!tensor.is_cpu()) {
    MOTLEY_CHECK(wire == Wire::BFloat16, "int8 codes on a device other than the host");
    return tensor.to(at::kBFloat16).flatten().view(at::kByte);
  }
  at::Tensor encoded = room_for_encoded(wire, tensor);
  const auto count = static_cast<std::size_t>(tensor.numel());
  const float* values = tensor.const_data_ptr<float>();
  if (wire == Wire::Int8) {
    kernels::encode_on_cpu(values, Element::Float32, count, stochastic ? Rounding::Stochastic : Rounding::Nearest, key,
                           encoded.mutable_data_ptr());
  } else {
    kernels::narrow_on_cpu(values, count, static_cast<std::uint16_t*>(encoded.mutable_data_ptr()));
  }
  return encoded;
}

void decode(Wire wire, const at::Tensor& encoded, const at::Tensor& tensor) {
  if (!tensor.is_cpu()) {
    MOTLEY_CHECK(wire == Wire::BFloat16, "int8 codes on a device other than the host");
    at::Tensor(tensor).copy_(encoded.view(at::kBFloat16).view(tensor.sizes()));
    return;
  }
  const auto count = static_cast<std::size_t>(tensor.numel());
  auto* values = tensor.mutable_data_ptr<float>();
  if (wire == Wire::Int8) {
    kernels::decode_on_cpu(encoded.const_data_ptr(), count, Element::Float32, values);
  } else {
    kernels::widen_on_cpu(static_cast<const std::uint16_t*>(encoded.const_data_ptr()), count, values);
  }
}

}  // namespace motley

#include "motley/stage/wire.h"

#include <ATen/ATen.h>

#include "motley/base/error.h"
#include "motley/kernels/bfloat16/bfloat16.h"
#include "motley/kernels/boundary_codec/boundary_codec.h"
#include "motley/workloads/expect_launched.h"

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

at::Tensor encode(Wire wire, const at::Tensor& tensor, bool stochastic, std::uint64_t key, kernels::KernelQueue queue) {
  if (!tensor.is_cpu() && !queue) {
    MOTLEY_CHECK(wire == Wire::BFloat16, "int8 codes on a device without kernels");
    return tensor.to(at::kBFloat16).flatten().view(at::kByte);
  }
  at::Tensor encoded = room_for_encoded(wire, tensor);
  const auto count = static_cast<std::size_t>(tensor.numel());
  const float* const values = tensor.const_data_ptr<float>();
  void* const codes = encoded.mutable_data_ptr();
  const Rounding rounding = stochastic ? Rounding::Stochastic : Rounding::Nearest;
  if (wire == Wire::Int8) {
    queue ? expect_launched(*queue.kernels,
                            queue.kernels->encode(values, Element::Float32, count, rounding, key, codes, queue.stream),
                            "encode")
          : kernels::encode_on_cpu(values, Element::Float32, count, rounding, key, codes);
  } else {
    auto* const rounded = static_cast<std::uint16_t*>(codes);
    queue ? expect_launched(*queue.kernels, queue.kernels->narrow(values, count, rounded, queue.stream), "narrow")
          : kernels::narrow_on_cpu(values, count, rounded);
  }
  return encoded;
}

void decode(Wire wire, const at::Tensor& encoded, const at::Tensor& tensor, kernels::KernelQueue queue) {
  if (!tensor.is_cpu() && !queue) {
    MOTLEY_CHECK(wire == Wire::BFloat16, "int8 codes on a device without kernels");
    at::Tensor(tensor).copy_(encoded.view(at::kBFloat16).view(tensor.sizes()));
    return;
  }
  const auto count = static_cast<std::size_t>(tensor.numel());
  auto* const values = tensor.mutable_data_ptr<float>();
  const void* const codes = encoded.const_data_ptr();
  if (wire == Wire::Int8) {
    queue ? expect_launched(*queue.kernels, queue.kernels->decode(codes, count, Element::Float32, values, queue.stream),
                            "decode")
          : kernels::decode_on_cpu(codes, count, Element::Float32, values);
  } else {
    const auto* const rounded = static_cast<const std::uint16_t*>(codes);
    queue ? expect_launched(*queue.kernels, queue.kernels->widen(rounded, count, values, queue.stream), "widen")
          : kernels::widen_on_cpu(rounded, count, values);
  }
}

}  // namespace motley

// The wire formats on the host: what a link of 10 Gbit/s is fed with costs this much time of a core.
#include <ATen/ATen.h>

#include <cstring>

#include "kernels/measure.h"
#include "motley/kernels/bfloat16/bfloat16.h"
#include "motley/kernels/boundary_codec/boundary_codec.h"

namespace motley {

void bench_codec() {
  using namespace kernels;
  for (const std::int64_t count : {32 << 10, 1 << 20}) {
    const auto n = static_cast<std::size_t>(count);
    const at::Tensor values = at::randn({count}), back = at::empty({count}), copy = at::empty({count});
    const at::Tensor rounded = values.to(at::kBFloat16), halves = at::empty({count}, at::kBFloat16);
    std::vector<char> codes(encoded_bytes(n));
    const auto encode = [&](const at::Tensor& from, Element element, Rounding rounding) {
      return [&codes, data = from.data_ptr(), element, n, rounding] {
        encode_on_cpu(data, element, n, rounding, 1, codes.data());
      };
    };
    compare("boundary codec, " + std::to_string(count) + " values (bandwidth: 4 bytes each)",
            4.0 * static_cast<double>(count),
            {{"plain loop, nearest",
              [&] { encode_reference(values.data_ptr(), Element::Float32, n, Rounding::Nearest, 1, codes.data()); }},
             {"encode, nearest", encode(values, Element::Float32, Rounding::Nearest)},
             {"encode, stochastic", encode(values, Element::Float32, Rounding::Stochastic)},
             {"encode bfloat16, nearest", encode(rounded, Element::BFloat16, Rounding::Nearest)},
             {"encode bfloat16, stochastic", encode(rounded, Element::BFloat16, Rounding::Stochastic)},
             {"decode", [&] { decode_on_cpu(codes.data(), n, Element::Float32, back.data_ptr()); }},
             {"decode to bfloat16", [&] { decode_on_cpu(codes.data(), n, Element::BFloat16, halves.data_ptr()); }},
             {"float32 to bfloat16",
              [&] { narrow_on_cpu(values.data_ptr<float>(), n, static_cast<std::uint16_t*>(halves.data_ptr())); }},
             {"LibTorch copy_ to bfloat16", [&] { halves.copy_(values); }},
             {"bfloat16 to float32",
              [&] { widen_on_cpu(static_cast<std::uint16_t*>(halves.data_ptr()), n, back.data_ptr<float>()); }},
             {"LibTorch copy_ to float32", [&] { back.copy_(halves); }},
             {"memcpy of float32", [&] { std::memcpy(copy.data_ptr(), values.data_ptr(), 4 * n); }}});
  }
}

}  // namespace motley

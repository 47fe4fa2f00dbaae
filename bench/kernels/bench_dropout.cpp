// Dropout on the host: the plain loop, the kernel, what LibTorch has (another mask, which it keeps), and the memory.
#include <ATen/ATen.h>

#include <cstring>

#include "kernels/measure.h"
#include "motley/kernels/dropout/dropout.h"

namespace motley {

void bench_dropout() {
  using namespace kernels;
  for (const auto& [samples, width] : {std::pair<std::int64_t, std::int64_t>{32, 1024}, {1024, 1024}}) {
    const at::Tensor values = at::randn({samples, width}), dropped = at::empty({samples, width});
    const at::Tensor halves = values.to(at::kBFloat16), half_dropped = at::empty_like(halves);
    const auto rows = static_cast<std::size_t>(samples);
    const auto columns = static_cast<std::size_t>(width);
    const DropoutMask mask{1, 0, 6554};
    compare(
        "dropout, " + std::to_string(samples) + " x " + std::to_string(width) + " (bandwidth: 8 bytes a value)",
        8.0 * static_cast<double>(values.numel()),
        {{"plain loop",
          [&] { dropout_reference(values.data_ptr(), Element::Float32, rows, columns, mask, dropped.data_ptr()); }},
         {"dropout_on_cpu",
          [&] { dropout_on_cpu(values.data_ptr(), Element::Float32, rows, columns, mask, dropped.data_ptr()); }},
         {"dropout_on_cpu of bfloat16",
          [&] { dropout_on_cpu(halves.data_ptr(), Element::BFloat16, rows, columns, mask, half_dropped.data_ptr()); }},
         {"LibTorch native_dropout", [&] { (void)at::native_dropout(values, 0.1, true); }},
         {"memcpy of float32", [&] { std::memcpy(dropped.data_ptr(), values.data_ptr(), values.nbytes()); }}});
  }
}

}  // namespace motley

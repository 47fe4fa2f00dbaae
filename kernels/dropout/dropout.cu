#include "motley/kernels/dropout/dropout.cuh"

#include "motley/kernels/dropout/format.h"
#include "motley/kernels/launch.h"
#include "motley/kernels/quad.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {
namespace {

// Rows of a block, so that narrow rows do not leave most of its threads idle.
constexpr unsigned kRows = 4;
constexpr unsigned kAcross = kThreads / kRows;

/// Where a thread is: blocks follow each other along rows, `across` of them in a row.
struct Place {
  std::size_t row;
  std::size_t column;

  __device__ Place(unsigned across, unsigned values)
      : row(static_cast<std::size_t>(blockIdx.x / across) * kRows + threadIdx.y),
        column((static_cast<std::size_t>(blockIdx.x % across) * kAcross + threadIdx.x) * values) {}
};

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    dropout_plain(const Value* values, std::size_t samples, std::size_t width, unsigned across, DropoutMask mask,
                  Value* dropped) {
  const Place place(across, 1);
  if (place.row >= samples || place.column >= width) {
    return;
  }
  const auto k = static_cast<unsigned>(place.column % masks::kTogether);
  const std::uint64_t draws = masks::draws(masks::row_key(mask, place.row), place.column - k);
  const float factor = masks::factor(draws, k, mask, masks::scale(mask));
  const std::size_t at = place.row * width + place.column;
  arithmetic::store(dropped + at, arithmetic::product(arithmetic::load(values + at), factor));
}

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    dropout_vectorised(const Value* values, std::size_t samples, std::size_t width, unsigned across, DropoutMask mask,
                       Value* dropped) {
  const Place place(across, 4);
  if (place.row >= samples || place.column >= width) {
    return;
  }
  const std::size_t at = place.row * (width / 4) + place.column / 4;  // in fours
  Quad quad;
  quad.load(values + at * 4);
  const float scale = masks::scale(mask);
  const std::uint64_t draws = masks::draws(masks::row_key(mask, place.row), place.column);
  MOTLEY_UNROLL
  for (unsigned k = 0; k < 4; ++k) {
    quad.value[k] = arithmetic::product(quad.value[k], masks::factor(draws, k, mask, scale));
  }
  quad.store_quad(dropped, at);
}

template <typename Value>
int dropout_as(DropoutVersion version, const Value* values, std::size_t samples, std::size_t width,
               const DropoutMask& mask, Value* dropped, Stream stream) {
  if (samples == 0 || width == 0) {
    return 0;
  }
  const bool plain = version == DropoutVersion::Plain;
  const std::size_t values_across = std::size_t{kAcross} * (plain ? 1 : 4);
  const auto across = static_cast<unsigned>((width + values_across - 1) / values_across);
  const auto down = static_cast<unsigned>((samples + kRows - 1) / kRows);
  return launch(plain ? dropout_plain<Value> : dropout_vectorised<Value>, dim3(across * down), dim3(kAcross, kRows),
                stream, values, samples, width, across, mask, dropped);
}

}  // namespace

int dropout(DropoutVersion version, const void* values, Element element, std::size_t samples, std::size_t width,
            const DropoutMask& mask, void* dropped, Stream stream) {
  return element == Element::Float32 ? dropout_as(version, static_cast<const float*>(values), samples, width, mask,
                                                  static_cast<float*>(dropped), stream)
                                     : dropout_as(version, static_cast<const std::uint16_t*>(values), samples, width,
                                                  mask, static_cast<std::uint16_t*>(dropped), stream);
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

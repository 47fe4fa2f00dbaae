#include "motley/kernels/bfloat16/bfloat16.cuh"

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/launch.h"
#include "motley/kernels/quad.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {
namespace {

template <typename From, typename To>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) convert_plain(const From* from, std::size_t count, To* to) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) {
    arithmetic::store(to + i, arithmetic::load(from + i));
  }
}

template <typename From, typename To>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    convert_vectorised(const From* from, std::size_t count, To* to) {
  const std::size_t i = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  Quad quad;
  quad.load(from, i, count);
  quad.store(to, i, count);
}

template <typename From, typename To>
int convert(ConversionVersion version, const From* from, std::size_t count, To* to, Stream stream) {
  if (count == 0) {
    return 0;
  }
  const bool plain = version == ConversionVersion::Plain;
  const std::size_t values = std::size_t{kThreads} * (plain ? 1 : 4);
  return launch(plain ? convert_plain<From, To> : convert_vectorised<From, To>,
                dim3(static_cast<unsigned>((count + values - 1) / values)), dim3(kThreads), stream, from, count, to);
}

}  // namespace

int narrow(ConversionVersion version, const float* values, std::size_t count, std::uint16_t* bfloat16, Stream stream) {
  return convert(version, values, count, bfloat16, stream);
}

int widen(ConversionVersion version, const std::uint16_t* bfloat16, std::size_t count, float* values, Stream stream) {
  return convert(version, bfloat16, count, values, stream);
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

#include "motley/kernels/squared_norm/squared_norm.cuh"

#include "motley/kernels/block_sum.h"
#include "motley/kernels/launch.h"
#include "motley/kernels/quad.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {
namespace {

__device__ inline std::size_t chunks_of(std::size_t values) {
  return (values + kNormChunk - 1) / kNormChunk;
}

// Block (x, y) has chunks of layer y, whose sums go to `places` places of the scratch, used from the first.

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    chunks_plain(const Value* values, const std::size_t* begins, std::size_t places, double* scratch) {
  const std::size_t chunk = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::size_t begin = begins[blockIdx.y] + chunk * kNormChunk;
  if (begin >= begins[blockIdx.y + 1]) {
    return;
  }
  const std::size_t rest = begins[blockIdx.y + 1] - begin;
  const std::size_t end = begin + (rest < kNormChunk ? rest : kNormChunk);
  double sum = 0.0;
  for (std::size_t i = begin; i < end; ++i) {
    const double value = arithmetic::load(values + i);
    sum += value * value;
  }
  scratch[blockIdx.y * places + chunk] = sum;
}

__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    layers_plain(const double* scratch, const std::size_t* begins, std::size_t layers, std::size_t places,
                 double* norms) {
  const std::size_t layer = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (layer >= layers) {
    return;
  }
  double sum = 0.0;
  for (std::size_t chunk = 0; chunk < chunks_of(begins[layer + 1] - begins[layer]); ++chunk) {
    sum += scratch[layer * places + chunk];
  }
  norms[layer] = sum;
}

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    chunks_vectorised(const Value* values, const std::size_t* begins, std::size_t places, double* scratch) {
  constexpr unsigned kQuads = kNormChunk / (4 * kThreads);
  const std::size_t begin = begins[blockIdx.y] + blockIdx.x * kNormChunk;
  const std::size_t end = begins[blockIdx.y + 1];
  if (begin >= end) {
    return;  // the whole block
  }
  Quad quads[kQuads];
  MOTLEY_UNROLL
  for (unsigned quad = 0; quad < kQuads; ++quad) {
    quads[quad].load(values, begin + (quad * kThreads + threadIdx.x) * 4, end);
  }
  double sum = 0.0;
  MOTLEY_UNROLL
  for (unsigned quad = 0; quad < kQuads; ++quad) {
    MOTLEY_UNROLL
    for (unsigned k = 0; k < 4; ++k) {
      const double value = quads[quad].value[k];
      sum += value * value;
    }
  }
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) {
    scratch[blockIdx.y * places + blockIdx.x] = sum;
  }
}

__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    layers_vectorised(const double* scratch, const std::size_t* begins, std::size_t places, double* norms) {
  const std::size_t layer = blockIdx.x;
  const std::size_t chunks = chunks_of(begins[layer + 1] - begins[layer]);
  double sum = 0.0;
  for (std::size_t chunk = threadIdx.x; chunk < chunks; chunk += kThreads) {
    sum += scratch[layer * places + chunk];
  }
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) {
    norms[layer] = sum;
  }
}

template <typename Value>
int norms_as(NormVersion version, const Value* values, const std::size_t* begins, std::size_t layers,
             std::size_t places, double* scratch, double* norms, Stream stream) {
  const auto y = static_cast<unsigned>(layers);
  const bool plain = version == NormVersion::Plain;
  if (places > 0) {
    const auto x = static_cast<unsigned>(plain ? (places + kThreads - 1) / kThreads : places);
    const int error = launch(plain ? chunks_plain<Value> : chunks_vectorised<Value>, dim3(x, y), dim3(kThreads), stream,
                             values, begins, places, scratch);
    if (error != 0) {
      return error;
    }
  }
  return plain ? launch(layers_plain, dim3((y + kThreads - 1) / kThreads), dim3(kThreads), stream, scratch, begins,
                        layers, places, norms)
               : launch(layers_vectorised, dim3(y), dim3(kThreads), stream, scratch, begins, places, norms);
}

}  // namespace

int squared_norms(NormVersion version, const void* values, Element element, const std::size_t* begins,
                  std::size_t layers, std::size_t largest, double* scratch, double* norms, Stream stream) {
  if (layers == 0) {
    return 0;
  }
  const std::size_t places = norm_scratch(1, largest);
  return element == Element::Float32
             ? norms_as(version, static_cast<const float*>(values), begins, layers, places, scratch, norms, stream)
             : norms_as(version, static_cast<const std::uint16_t*>(values), begins, layers, places, scratch, norms,
                        stream);
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

#include "motley/kernels/sgd/sgd.cuh"

#include "motley/kernels/launch.h"
#include "motley/kernels/quad.h"
#include "motley/kernels/sgd/formula.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {
namespace {

constexpr unsigned kQuads = 2;  // of a thread

__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    sgd_plain(SgdBuffers buffers, std::size_t count, const DecayRun* runs, unsigned run_count, SgdStep step) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) {
    return;
  }
  const float decay = runs[run_of(i, runs, run_count)].decays ? step.decay : 0.0F;
  if (buffers.momentum == nullptr) {
    sgd_element(buffers.parameter[i], buffers.gradient[i], decay, step);
  } else {
    sgd_element(buffers.parameter[i], buffers.gradient[i], buffers.momentum[i], decay, step);
  }
  if (buffers.rounded != nullptr) {
    buffers.rounded[i] = arithmetic::to_bfloat16(buffers.parameter[i]);
  }
  buffers.gradient[i] = 0.0F;
}

// Accesses as in adamw_vectorised.
template <bool kMomentum>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    sgd_vectorised(SgdBuffers buffers, std::size_t count, const DecayRun* runs, unsigned run_count, SgdStep step) {
  __shared__ unsigned first_run;
  const std::size_t begin = static_cast<std::size_t>(blockIdx.x) * kThreads * 4 * kQuads;
  Quad parameter[kQuads];
  Quad gradient[kQuads];
  Quad momentum[kQuads];
  MOTLEY_UNROLL
  for (unsigned quad = 0; quad < kQuads; ++quad) {
    const std::size_t i = begin + (quad * kThreads + threadIdx.x) * 4;
    parameter[quad].load(buffers.parameter, i, count);
    gradient[quad].load(buffers.gradient, i, count);
    if (kMomentum) {
      momentum[quad].load(buffers.momentum, i, count);
    }
  }
  if (threadIdx.x == 0) {
    first_run = run_of(begin, runs, run_count);
  }
  __syncthreads();
  unsigned run = first_run;
  MOTLEY_UNROLL
  for (unsigned quad = 0; quad < kQuads; ++quad) {
    const std::size_t i = begin + (quad * kThreads + threadIdx.x) * 4;
    if (i >= count) {
      return;
    }
    while (runs[run].end <= i) {
      ++run;
    }
    const float decay = runs[run].decays ? step.decay : 0.0F;  // of all four: runs end at multiples of 16
    MOTLEY_UNROLL
    for (unsigned k = 0; k < 4; ++k) {
      if (kMomentum) {
        sgd_element(parameter[quad].value[k], gradient[quad].value[k], momentum[quad].value[k], decay, step);
      } else {
        sgd_element(parameter[quad].value[k], gradient[quad].value[k], decay, step);
      }
    }
    parameter[quad].store(buffers.parameter, i, count);
    if (kMomentum) {
      momentum[quad].store(buffers.momentum, i, count);
    }
    if (buffers.rounded != nullptr) {
      parameter[quad].store(buffers.rounded, i, count);
    }
    Quad().store(buffers.gradient, i, count);
  }
}

}  // namespace

int sgd(SgdVersion version, const SgdBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,
        const SgdStep& step, Stream stream) {
  if (count == 0) {
    return 0;
  }
  const bool plain = version == SgdVersion::Plain;
  const std::size_t elements = std::size_t{kThreads} * (plain ? 1 : 4 * kQuads);
  const dim3 blocks(static_cast<unsigned>((count + elements - 1) / elements));
  const auto kernel = plain ? sgd_plain : (buffers.momentum == nullptr ? sgd_vectorised<false> : sgd_vectorised<true>);
  return launch(kernel, blocks, dim3(kThreads), stream, buffers, count, runs, run_count, step);
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

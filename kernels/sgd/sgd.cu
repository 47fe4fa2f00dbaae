#include "motley/kernels/sgd/sgd.cuh"

#include "motley/kernels/decay_quads.h"
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
  sgd_at(buffers, i, runs[run_of(i, runs, run_count)].decays, step);
}

template <bool kMomentum>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    sgd_vectorised(SgdBuffers buffers, std::size_t count, const DecayRun* runs, unsigned run_count, SgdStep step) {
  Quad parameter[kQuads];
  Quad gradient[kQuads];
  Quad momentum[kQuads];
  const auto load = [&](unsigned quad, std::size_t i) {
    parameter[quad].load(buffers.parameter, i, count);
    gradient[quad].load(buffers.gradient, i, count);
    if (kMomentum) {
      momentum[quad].load(buffers.momentum, i, count);
    }
  };
  quads_by_run<kQuads>(count, runs, run_count, load, [&](unsigned quad, std::size_t i, bool decays) {
    const float decay = decays ? step.decay : 0.0F;
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
  });
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

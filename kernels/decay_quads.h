#pragma once

#include "motley/kernels/decay_runs.h"
#include "motley/kernels/launch.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// An optimiser's pass over flat buffers of `count` elements, `kQuads` quads a thread, which begin at elements i:
/// load(quad, i) for all of them, then finish(quad, i, whether its four elements decay) for those below `count`. Runs
/// end at multiples of 16. Neighbouring threads take neighbouring quads, and a thread's quads lie a block's width
/// apart: every access of a warp is one piece of memory. The block looks up its first run while its loads are on the
/// way.
template <unsigned kQuads, typename Load, typename Finish>
__device__ __forceinline__ void quads_by_run(std::size_t count, const DecayRun* runs, unsigned run_count, Load load,
                                             Finish finish) {
  __shared__ unsigned first_run;
  const std::size_t begin = static_cast<std::size_t>(blockIdx.x) * kThreads * 4 * kQuads;
  MOTLEY_UNROLL
  for (unsigned quad = 0; quad < kQuads; ++quad) {
    load(quad, begin + (quad * kThreads + threadIdx.x) * 4);
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
    finish(quad, i, runs[run].decays);
  }
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

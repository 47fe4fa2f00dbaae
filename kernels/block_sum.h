#pragma once

#include "motley/kernels/launch.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The sum of `value` over a block of kThreads threads, valid in thread 0: lanes of a warp by halves, then warps in
/// order. All threads call it, once a kernel.
__device__ inline double sum_of_block(double value) {
  __shared__ double of_warp[kThreads / 32];
  for (unsigned step = 16; step > 0; step /= 2) {
    value += __shfl_down_sync(0xffffffffU, value, step);
  }
  if (threadIdx.x % 32 == 0) {
    of_warp[threadIdx.x / 32] = value;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (unsigned warp = 1; warp < kThreads / 32; ++warp) {
      value += of_warp[warp];
    }
  }
  return value;
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

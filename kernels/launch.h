#pragma once

// Included by every .cu file. Kernels are started by launch() and never with <<<>>>, which the emulator's compiler does
// not know.

#include "motley/kernels/space.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

#define MOTLEY_UNROLL _Pragma("unroll")

namespace motley::kernels {

/// Starts `kernel` on `stream`. Returns the cudaError_t, 0 for success; errors of the kernel itself show up later.
template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Stream stream, Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  return [&](Parameters... converted) {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&converted))...};
    return static_cast<int>(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, 0,
                                             static_cast<cudaStream_t>(stream)));
  }(arguments...);
}

}  // namespace motley::kernels

#else

#include "motley/kernels/emulator/cuda.h"

#define MOTLEY_UNROLL

#endif

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// What kernels state by __launch_bounds__ unless they say otherwise: threads of a block, and blocks that registers and
/// shared memory leave room for on a multiprocessor. Together 1024, all that one of sm_75 holds.
constexpr unsigned kThreads = 256;
constexpr unsigned kBlocksAtOnce = 4;

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

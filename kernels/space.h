#pragma once

// Every .cu file is compiled twice: by nvcc for a GPU, into namespace `cuda`, and by the host compiler for the
// emulator, into namespace `emulated`. A host program that links the GPU's library (motley_kernels_cuda) sees the
// first.

#if defined(__CUDACC__) || defined(MOTLEY_KERNELS_FOR_GPU)
#define MOTLEY_KERNEL_SPACE cuda
#else
#define MOTLEY_KERNEL_SPACE emulated
#endif

namespace motley::kernels {

using Stream = void*;  ///< a cudaStream_t; the emulator ignores it

}  // namespace motley::kernels

#pragma once

#include <cstddef>
#include <string>

// CUDA's own names of what its handles point to, so that pointers have the same types as there.
struct CUstream_st;
struct CUevent_st;

namespace motley {

using CudaStream = CUstream_st*;
using CudaEvent = CUevent_st*;

/// Every call of the CUDA runtime that Motley makes: name, parameters. All return a cudaError_t, 0 for success; enums
/// are int here, which is what they are to a caller.
#define MOTLEY_CUDA_CALLS(CALL)                                                                \
  CALL(cudaDriverGetVersion, (int* version))                                                   \
  CALL(cudaRuntimeGetVersion, (int* version))                                                  \
  CALL(cudaGetDeviceCount, (int* count))                                                       \
  CALL(cudaSetDevice, (int device))                                                            \
  CALL(cudaGetDeviceProperties, (void* properties, int device))                                \
  CALL(cudaDeviceGetAttribute, (int* value, int attribute, int device))                        \
  CALL(cudaMemGetInfo, (std::size_t * free, std::size_t * total))                              \
  CALL(cudaMalloc, (void** memory, std::size_t bytes))                                         \
  CALL(cudaFree, (void* memory))                                                               \
  CALL(cudaHostAlloc, (void** memory, std::size_t bytes, unsigned flags))                      \
  CALL(cudaFreeHost, (void* memory))                                                           \
  CALL(cudaMemcpyAsync, (void* to, const void* from, std::size_t bytes, int kind, CudaStream)) \
  CALL(cudaStreamCreateWithPriority, (CudaStream * stream, unsigned flags, int priority))      \
  CALL(cudaStreamDestroy, (CudaStream stream))                                                 \
  CALL(cudaStreamQuery, (CudaStream stream))                                                   \
  CALL(cudaStreamSynchronize, (CudaStream stream))                                             \
  CALL(cudaStreamWaitEvent, (CudaStream stream, CudaEvent event, unsigned flags))              \
  CALL(cudaLaunchHostFunc, (CudaStream stream, void (*function)(void*), void* argument))       \
  CALL(cudaEventCreateWithFlags, (CudaEvent * event, unsigned flags))                          \
  CALL(cudaEventDestroy, (CudaEvent event))                                                    \
  CALL(cudaEventRecord, (CudaEvent event, CudaStream stream))                                  \
  CALL(cudaEventQuery, (CudaEvent event))                                                      \
  CALL(cudaEventElapsedTime, (float* milliseconds, CudaEvent start, CudaEvent end))            \
  CALL(cudaGetLastError, ())

/// The table that every CUDA call of Motley goes through: of the real library, or of a fake in tests.
struct CudaApi {
#define MOTLEY_CUDA_MEMBER(name, parameters) int(*name) parameters = nullptr;  // NOLINT(bugprone-macro-parentheses)
  MOTLEY_CUDA_CALLS(MOTLEY_CUDA_MEMBER)
#undef MOTLEY_CUDA_MEMBER
  const char* (*cudaGetErrorString)(int error) = nullptr;

  std::string library;  ///< the file that was loaded
  /// The memory of its devices is the host's, and what the host computes with is there: a fake says so by having a
  /// symbol "motleyFakeCuda".
  bool is_fake = false;
};

// What is used of CUDA's enums.
inline constexpr int kCudaSuccess = 0;
inline constexpr int kCudaOutOfMemory = 2;
inline constexpr int kCudaDriverTooOld = 35;
inline constexpr int kCudaNoDevice = 100;
inline constexpr int kCudaNotReady = 600;

/// Fills the table from a shared library, by default the CUDA runtime of the version Motley is tested with, else any
/// there is. Throws Fault that names the library or the symbol that is missing, in one line.
[[nodiscard]] CudaApi load_cuda(const std::string& library = "");

}  // namespace motley

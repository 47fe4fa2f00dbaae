#pragma once

#include <cstdint>
#include <string>

#include "motley/kernels/adamw/adamw.h"
#include "motley/kernels/boundary_codec/boundary_codec.h"
#include "motley/kernels/dropout/dropout.h"
#include "motley/kernels/router_score/router_score.h"
#include "motley/kernels/sgd/sgd.h"
#include "motley/kernels/space.h"

namespace motley::kernels {

/// Every kernel that the engine launches on a device: name, parameters. Pointers are the device's, those to structs
/// apart; each is put into `stream` and returns a cudaError_t, 0 for success. Which version of the ladder runs is
/// chosen behind it. Meanings: adamw.cuh, sgd.cuh, squared_norm.cuh, bfloat16.cuh, boundary_codec.cuh, dropout.cuh,
/// router_score.cuh (query gradients of scale 1); aligned as LibTorch's tensors are, rows of the wire formats anywhere.
#define MOTLEY_DEVICE_KERNELS(KERNEL)                                                                            \
  KERNEL(adamw, (const AdamwBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,    \
                 const AdamwStep& step, Stream stream))                                                          \
  KERNEL(sgd, (const SgdBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,        \
               const SgdStep& step, Stream stream))                                                              \
  KERNEL(squared_norms, (const void* values, Element element, const std::size_t* begins, std::size_t layers,     \
                         std::size_t largest, double* scratch, double* norms, Stream stream))                    \
  KERNEL(narrow, (const float* values, std::size_t count, std::uint16_t* bfloat16, Stream stream))               \
  KERNEL(widen, (const std::uint16_t* bfloat16, std::size_t count, float* values, Stream stream))                \
  KERNEL(encode, (const void* values, Element element, std::size_t count, Rounding rounding, std::uint64_t seed, \
                  void* codes, Stream stream))                                                                   \
  KERNEL(decode, (const void* codes, std::size_t count, Element element, void* values, Stream stream))           \
  KERNEL(dropout, (const void* values, Element element, std::size_t samples, std::size_t width,                  \
                   const DropoutMask& mask, void* dropped, Stream stream))                                       \
  KERNEL(router_score, (const RouterScoreInput& input, double* scratch, double* loss, float* score,              \
                        float* score_gradient, float* query_gradient, Stream stream))                            \
  KERNEL(router_model_gradient, (const RouterScoreInput& input, const float* score_gradient, const float* scale, \
                                 float* scratch, float* model_gradient, float* bias_gradient, Stream stream))

/// Elements of scratch that some of them need: name, parameters.
#define MOTLEY_KERNEL_SCRATCHES(SCRATCH)                                                           \
  SCRATCH(norm_scratch, (std::size_t layers, std::size_t largest))  /* doubles of squared_norms */ \
  SCRATCH(router_loss_scratch, (std::size_t queries))               /* doubles of router_score */  \
  SCRATCH(router_gradient_scratch, (const RouterScoreInput& input)) /* floats of router_model_gradient */

/// What the library's motley_kernel_interface() must return: to be raised with every change of the table or of a struct
/// that it is handed.
inline constexpr int kDeviceKernelsInterface = 2;

// What a library of them has: the one that nvcc makes, and a fake in tests.
extern "C" {
int motley_kernel_interface();
#define MOTLEY_KERNEL_DECLARATION(name, parameters) int motley_kernel_##name parameters;
MOTLEY_DEVICE_KERNELS(MOTLEY_KERNEL_DECLARATION)
#undef MOTLEY_KERNEL_DECLARATION
#define MOTLEY_KERNEL_DECLARATION(name, parameters) std::size_t motley_kernel_##name parameters;
MOTLEY_KERNEL_SCRATCHES(MOTLEY_KERNEL_DECLARATION)
#undef MOTLEY_KERNEL_DECLARATION
}

/// The same as a table, so that a program needs no such library.
struct DeviceKernels {
#define MOTLEY_KERNEL_MEMBER(name, parameters) int(*name) parameters = nullptr;  // NOLINT(bugprone-macro-parentheses)
  MOTLEY_DEVICE_KERNELS(MOTLEY_KERNEL_MEMBER)
#undef MOTLEY_KERNEL_MEMBER
#define MOTLEY_KERNEL_MEMBER(name, parameters) \
  std::size_t(*name) parameters = nullptr;  // NOLINT(bugprone-macro-parentheses)
  MOTLEY_KERNEL_SCRATCHES(MOTLEY_KERNEL_MEMBER)
#undef MOTLEY_KERNEL_MEMBER

  const char* (*error_text)(int error) = nullptr;  ///< CUDA's words for what a launch returned
  std::string library;                             ///< the file that was loaded
};

/// Where kernels are launched: a table, and a stream of the device that its tensors are on. Empty: nowhere.
struct KernelQueue {
  const DeviceKernels* kernels = nullptr;
  Stream stream = nullptr;

  explicit operator bool() const { return kernels != nullptr; }
};

}  // namespace motley::kernels

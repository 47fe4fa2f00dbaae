// The functions behind the table DeviceKernels: in the library for GPUs, and in tests those of the emulator.
#include "motley/kernels/device_kernels.h"

#include "motley/kernels/adamw/adamw.cuh"
#include "motley/kernels/bfloat16/bfloat16.cuh"
#include "motley/kernels/boundary_codec/boundary_codec.cuh"
#include "motley/kernels/dropout/dropout.cuh"
#include "motley/kernels/router_score/router_score.cuh"
#include "motley/kernels/sgd/sgd.cuh"
#include "motley/kernels/squared_norm/squared_norm.cuh"

namespace motley::kernels {

namespace here = MOTLEY_KERNEL_SPACE;

namespace {

/// For accesses of 16 bytes: rows of a tensor may begin anywhere.
template <typename... Pointers>
bool aligned(Pointers... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

here::RouterVersion router_version(const RouterScoreInput& input) {
  return aligned(input.query, input.model) && input.width % 4 == 0 ? here::RouterVersion::Tiled
                                                                   : here::RouterVersion::Plain;
}

}  // namespace

int motley_kernel_interface() {
  return kDeviceKernelsInterface;
}

// Flat buffers are aligned to 64 bytes.

int motley_kernel_adamw(const AdamwBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,
                        const AdamwStep& step, Stream stream) {
  return here::adamw(here::AdamwVersion::Vectorised, buffers, count, runs, run_count, step, stream);
}

int motley_kernel_sgd(const SgdBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,
                      const SgdStep& step, Stream stream) {
  return here::sgd(here::SgdVersion::TwoAhead, buffers, count, runs, run_count, step, stream);
}

int motley_kernel_squared_norms(const void* values, Element element, const std::size_t* begins, std::size_t layers,
                                std::size_t largest, double* scratch, double* norms, Stream stream) {
  return here::squared_norms(here::NormVersion::Vectorised, values, element, begins, layers, largest, scratch, norms,
                             stream);
}

int motley_kernel_narrow(const float* values, std::size_t count, std::uint16_t* bfloat16, Stream stream) {
  const bool wide = aligned(values, bfloat16);
  return here::narrow(wide ? here::ConversionVersion::Vectorised : here::ConversionVersion::Plain, values, count,
                      bfloat16, stream);
}

int motley_kernel_widen(const std::uint16_t* bfloat16, std::size_t count, float* values, Stream stream) {
  const bool wide = aligned(values, bfloat16);
  return here::widen(wide ? here::ConversionVersion::Vectorised : here::ConversionVersion::Plain, bfloat16, count,
                     values, stream);
}

int motley_kernel_encode(const void* values, Element element, std::size_t count, Rounding rounding, std::uint64_t seed,
                         void* codes, Stream stream) {
  const bool wide = aligned(values, codes);
  return here::encode(wide ? here::CodecVersion::Vectorised : here::CodecVersion::Plain, values, element, count,
                      rounding, seed, codes, stream);
}

int motley_kernel_decode(const void* codes, std::size_t count, Element element, void* values, Stream stream) {
  const bool wide = aligned(values, codes);
  return here::decode(wide ? here::CodecVersion::Vectorised : here::CodecVersion::Plain, codes, count, element, values,
                      stream);
}

int motley_kernel_dropout(const void* values, Element element, std::size_t samples, std::size_t width,
                          const DropoutMask& mask, void* dropped, Stream stream) {
  const bool wide = aligned(values, dropped) && width % 4 == 0;
  return here::dropout(wide ? here::DropoutVersion::Vectorised : here::DropoutVersion::Plain, values, element, samples,
                       width, mask, dropped, stream);
}

int motley_kernel_router_score(const RouterScoreInput& input, double* scratch, double* loss, float* score,
                               float* score_gradient, float* query_gradient, Stream stream) {
  return here::router_score(router_version(input), input, 1.0F, scratch, loss, score, score_gradient, query_gradient,
                            stream);
}

int motley_kernel_router_model_gradient(const RouterScoreInput& input, const float* score_gradient, const float* scale,
                                        float* scratch, float* model_gradient, float* bias_gradient, Stream stream) {
  return here::router_model_gradient(router_version(input), input, score_gradient, scale, scratch, model_gradient,
                                     bias_gradient, stream);
}

std::size_t motley_kernel_norm_scratch(std::size_t layers, std::size_t largest) {
  return here::norm_scratch(layers, largest);
}
std::size_t motley_kernel_router_loss_scratch(std::size_t queries) {
  return here::router_loss_scratch(queries);
}
std::size_t motley_kernel_router_gradient_scratch(const RouterScoreInput& input) {
  return here::router_gradient_scratch(input);
}

}  // namespace motley::kernels

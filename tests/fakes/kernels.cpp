// Kernels on the fake's streams: the host's versions, in the order of the stream. A launch returns when its kernel is
// done (as with CUDA_LAUNCH_BLOCKING=1), since LibTorch's operators, which are the host's on a fake, wait for no
// stream.
#include <string>

#include "fakes/script.h"
#include "fakes/stream.h"
#include "motley/kernels/bfloat16/bfloat16.h"
#include "motley/kernels/device_kernels.h"
#include "motley/kernels/squared_norm/squared_norm.h"

namespace motley::kernels {
namespace {

using fakes::Operation;
using fakes::State;

constexpr int kInvalidHandle = 400;

template <typename Body>
int launch(const char* name, Stream stream, Body&& body) {
  const auto queue = fakes::queue_of(static_cast<CudaStream>(stream), name);
  if (!queue) return kInvalidHandle;
  if (const int error = State::get().broken(queue->device())) return error;
  if (const auto error = State::get().due(std::string("kernel.") + name, queue->device())) {
    return static_cast<int>(*error);
  }
  Operation operation{Operation::Kind::Kernel, queue->device(), queue->number()};
  operation.name = name;
  State::get().log(operation);
  queue->push(std::forward<Body>(body));
  queue->drain();
  return 0;
}

void expect_covered(const std::string& name, std::size_t count, const DecayRun* runs, std::size_t run_count) {
  if (run_count == 0 ? count != 0 : runs[run_count - 1].end != count) {
    State::get().blame(name + " of runs that do not end with the buffers");
  }
}

}  // namespace

int motley_kernel_interface() {
  return static_cast<int>(State::get().value("kernel_interface", -1).value_or(kDeviceKernelsInterface));
}

int motley_kernel_adamw(const AdamwBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,
                        const AdamwStep& step, Stream stream) {
  expect_covered("adamw", count, runs, run_count);
  return launch("adamw", stream, [=] { adamw_on_cpu(buffers, runs, run_count, step); });
}

int motley_kernel_sgd(const SgdBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,
                      const SgdStep& step, Stream stream) {
  expect_covered("sgd", count, runs, run_count);
  return launch("sgd", stream, [=] { sgd_on_cpu(buffers, runs, run_count, step); });
}

int motley_kernel_squared_norms(const void* values, Element element, const std::size_t* begins, std::size_t layers,
                                std::size_t /*largest*/, double* /*scratch*/, double* norms, Stream stream) {
  const auto* const bytes = static_cast<const std::byte*>(values);
  const std::size_t width = element == Element::Float32 ? 4 : 2;
  return launch("squared_norms", stream, [=] {
    for (std::size_t layer = 0; layer < layers; ++layer) {
      norms[layer] = squared_norm_on_cpu(bytes + begins[layer] * width, element, begins[layer + 1] - begins[layer]);
    }
  });
}

int motley_kernel_narrow(const float* values, std::size_t count, std::uint16_t* bfloat16, Stream stream) {
  return launch("narrow", stream, [=] { narrow_on_cpu(values, count, bfloat16); });
}

int motley_kernel_widen(const std::uint16_t* bfloat16, std::size_t count, float* values, Stream stream) {
  return launch("widen", stream, [=] { widen_on_cpu(bfloat16, count, values); });
}

int motley_kernel_encode(const void* values, Element element, std::size_t count, Rounding rounding, std::uint64_t seed,
                         void* codes, Stream stream) {
  return launch("encode", stream, [=] { encode_on_cpu(values, element, count, rounding, seed, codes); });
}

int motley_kernel_decode(const void* codes, std::size_t count, Element element, void* values, Stream stream) {
  return launch("decode", stream, [=] { decode_on_cpu(codes, count, element, values); });
}

int motley_kernel_dropout(const void* values, Element element, std::size_t samples, std::size_t width,
                          const DropoutMask& mask, void* dropped, Stream stream) {
  return launch("dropout", stream, [=] { dropout_on_cpu(values, element, samples, width, mask, dropped); });
}

int motley_kernel_router_score(const RouterScoreInput& input, double* /*scratch*/, double* loss, float* score,
                               float* score_gradient, float* query_gradient, Stream stream) {
  return launch("router_score", stream, [=] {
    *loss = router_score_on_cpu(input, score, score_gradient);
    if (query_gradient != nullptr) router_query_gradient_on_cpu(input, score_gradient, 1.0F, query_gradient);
  });
}

int motley_kernel_router_model_gradient(const RouterScoreInput& input, const float* score_gradient, const float* scale,
                                        float* /*scratch*/, float* model_gradient, float* bias_gradient,
                                        Stream stream) {
  return launch("router_model_gradient", stream,
                [=] { router_model_gradient_on_cpu(input, score_gradient, *scale, model_gradient, bias_gradient); });
}

std::size_t motley_kernel_norm_scratch(std::size_t /*layers*/, std::size_t /*largest*/) {
  return 0;
}
std::size_t motley_kernel_router_loss_scratch(std::size_t /*queries*/) {
  return 0;
}
std::size_t motley_kernel_router_gradient_scratch(const RouterScoreInput& /*input*/) {
  return 0;
}

}  // namespace motley::kernels

#include "motley/kernels/adamw/adamw.cuh"

#include "motley/kernels/adamw/formula.h"
#include "motley/kernels/decay_quads.h"
#include "motley/kernels/launch.h"
#include "motley/kernels/quad.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {
namespace {

template <typename Gradient>
struct Arrays {
  float* parameter;
  std::uint16_t* rounded;
  Gradient* gradient;
  float* mean;
  float* square;
};

template <typename Gradient>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    adamw_plain(Arrays<Gradient> arrays, std::size_t count, const DecayRun* runs, unsigned run_count, AdamwStep step) {
  const std::size_t i = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) {
    return;
  }
  const float kept = runs[run_of(i, runs, run_count)].decays ? step.kept : 1.0F;
  adamw_element(arrays.parameter[i], arithmetic::load(arrays.gradient + i), arrays.mean[i], arrays.square[i], kept,
                step);
  if (arrays.rounded != nullptr) {
    arrays.rounded[i] = arithmetic::to_bfloat16(arrays.parameter[i]);
  }
  arrays.gradient[i] = Gradient{};
}

template <unsigned kQuads, typename Gradient>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    adamw_vectorised(Arrays<Gradient> arrays, std::size_t count, const DecayRun* runs, unsigned run_count,
                     AdamwStep step) {
  Quad parameter[kQuads];
  Quad gradient[kQuads];
  Quad mean[kQuads];
  Quad square[kQuads];
  const auto load = [&](unsigned quad, std::size_t i) {
    parameter[quad].load(arrays.parameter, i, count);
    gradient[quad].load(arrays.gradient, i, count);
    mean[quad].load(arrays.mean, i, count);
    square[quad].load(arrays.square, i, count);
  };
  quads_by_run<kQuads>(count, runs, run_count, load, [&](unsigned quad, std::size_t i, bool decays) {
    const float kept = decays ? step.kept : 1.0F;
    MOTLEY_UNROLL
    for (unsigned k = 0; k < 4; ++k) {
      adamw_element(parameter[quad].value[k], gradient[quad].value[k], mean[quad].value[k], square[quad].value[k], kept,
                    step);
    }
    parameter[quad].store(arrays.parameter, i, count);
    mean[quad].store(arrays.mean, i, count);
    square[quad].store(arrays.square, i, count);
    if (arrays.rounded != nullptr) {
      parameter[quad].store(arrays.rounded, i, count);
    }
    Quad().store(arrays.gradient, i, count);
  });
}

dim3 blocks_for(std::size_t count, unsigned elements_a_thread) {
  const std::size_t elements = std::size_t{kThreads} * elements_a_thread;
  return dim3(static_cast<unsigned>((count + elements - 1) / elements));
}

template <typename Gradient>
int adamw_as(AdamwVersion version, const AdamwBuffers& buffers, std::size_t count, const DecayRun* runs,
             std::size_t run_count, const AdamwStep& step, Stream stream) {
  const Arrays<Gradient> arrays{buffers.parameter, buffers.rounded, static_cast<Gradient*>(buffers.gradient),
                                buffers.mean, buffers.square};
  switch (version) {
    case AdamwVersion::Plain:
      return launch(adamw_plain<Gradient>, blocks_for(count, 1), dim3(kThreads), stream, arrays, count, runs, run_count,
                    step);
    case AdamwVersion::Vectorised:
      return launch(adamw_vectorised<1, Gradient>, blocks_for(count, 4), dim3(kThreads), stream, arrays, count, runs,
                    run_count, step);
    default:
      return launch(adamw_vectorised<2, Gradient>, blocks_for(count, 8), dim3(kThreads), stream, arrays, count, runs,
                    run_count, step);
  }
}

}  // namespace

int adamw(AdamwVersion version, const AdamwBuffers& buffers, std::size_t count, const DecayRun* runs,
          std::size_t run_count, const AdamwStep& step, Stream stream) {
  if (count == 0) {
    return 0;
  }
  return buffers.gradient_element == Element::Float32
             ? adamw_as<float>(version, buffers, count, runs, run_count, step, stream)
             : adamw_as<std::uint16_t>(version, buffers, count, runs, run_count, step, stream);
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

#include "motley/kernels/sgd/formula.h"

namespace motley::kernels {

void sgd_reference(const SgdBuffers& buffers, const DecayRun* runs, std::size_t run_count, const SgdStep& step) {
  std::size_t i = 0;
  for (std::size_t run = 0; run < run_count; ++run) {
    const float decay = runs[run].decays ? step.decay : 0.0F;
    for (; i < runs[run].end; ++i) {
      if (buffers.momentum == nullptr) {
        sgd_element(buffers.parameter[i], buffers.gradient[i], decay, step);
      } else {
        sgd_element(buffers.parameter[i], buffers.gradient[i], buffers.momentum[i], decay, step);
      }
      if (buffers.rounded != nullptr) {
        buffers.rounded[i] = arithmetic::to_bfloat16(buffers.parameter[i]);
      }
      buffers.gradient[i] = 0.0F;
    }
  }
}

}  // namespace motley::kernels

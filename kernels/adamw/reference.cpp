#include "motley/kernels/adamw/formula.h"

namespace motley::kernels {

void adamw_reference(const AdamwBuffers& buffers, const DecayRun* runs, std::size_t run_count, const AdamwStep& step) {
  auto* const floats = static_cast<float*>(buffers.gradient);
  auto* const halves = static_cast<std::uint16_t*>(buffers.gradient);
  std::size_t i = 0;
  for (std::size_t run = 0; run < run_count; ++run) {
    for (; i < runs[run].end; ++i) {
      const bool wide = buffers.gradient_element == Element::Float32;
      const float gradient = wide ? floats[i] : arithmetic::from_bfloat16(halves[i]);
      adamw_element(buffers.parameter[i], gradient, buffers.mean[i], buffers.square[i],
                    runs[run].decays ? step.kept : 1.0F, step);
      if (buffers.rounded != nullptr) {
        buffers.rounded[i] = arithmetic::to_bfloat16(buffers.parameter[i]);
      }
      if (wide) {
        floats[i] = 0.0F;
      } else {
        halves[i] = 0;
      }
    }
  }
}

}  // namespace motley::kernels

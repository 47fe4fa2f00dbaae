#include "motley/kernels/sgd/sgd.h"

#include "motley/kernels/clones.h"
#include "motley/kernels/sgd/formula.h"

namespace motley::kernels {
namespace {

// Pointers that do not overlap and no branch inside: the loop vectorises.
template <bool kRounds, bool kMomentum>
MOTLEY_INLINE void update(float* __restrict parameter, std::uint16_t* __restrict rounded, float* __restrict gradient,
                          float* __restrict momentum, std::size_t count, float decay, const SgdStep step) {
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (kMomentum) {
      sgd_element(parameter[i], gradient[i], momentum[i], decay, step);
    } else {
      sgd_element(parameter[i], gradient[i], decay, step);
    }
    if constexpr (kRounds) {
      rounded[i] = arithmetic::to_bfloat16(parameter[i]);
    }
    gradient[i] = 0.0F;
  }
}

MOTLEY_CLONES void update_plainly(float* p, float* g, std::size_t count, float decay, const SgdStep& step) {
  update<false, false>(p, nullptr, g, nullptr, count, decay, step);
}
MOTLEY_CLONES void update_and_round(float* p, std::uint16_t* rounded, float* g, std::size_t count, float decay,
                                    const SgdStep& step) {
  update<true, false>(p, rounded, g, nullptr, count, decay, step);
}
MOTLEY_CLONES void update_with_momentum(float* p, float* g, float* m, std::size_t count, float decay,
                                        const SgdStep& step) {
  update<false, true>(p, nullptr, g, m, count, decay, step);
}
MOTLEY_CLONES void update_with_momentum_and_round(float* p, std::uint16_t* rounded, float* g, float* m,
                                                  std::size_t count, float decay, const SgdStep& step) {
  update<true, true>(p, rounded, g, m, count, decay, step);
}

}  // namespace

void sgd_on_cpu(const SgdBuffers& buffers, const DecayRun* runs, std::size_t run_count, const SgdStep& step) {
  for_each_run(runs, run_count, [&](std::size_t begin, std::size_t count, bool decays) {
    const float decay = decays ? step.decay : 0.0F;
    float* const p = buffers.parameter + begin;
    float* const g = buffers.gradient + begin;
    float* const m = buffers.momentum == nullptr ? nullptr : buffers.momentum + begin;
    std::uint16_t* const rounded = buffers.rounded == nullptr ? nullptr : buffers.rounded + begin;
    if (m == nullptr) {
      rounded == nullptr ? update_plainly(p, g, count, decay, step)
                         : update_and_round(p, rounded, g, count, decay, step);
    } else {
      rounded == nullptr ? update_with_momentum(p, g, m, count, decay, step)
                         : update_with_momentum_and_round(p, rounded, g, m, count, decay, step);
    }
  });
}

}  // namespace motley::kernels

#include "motley/kernels/adamw/adamw.h"

#include <cmath>

#include "motley/kernels/adamw/formula.h"
#include "motley/kernels/clones.h"

namespace motley::kernels {
namespace {

// Pointers that do not overlap and no branch inside: the loop vectorises.
template <bool kRounds, typename Gradient>
MOTLEY_INLINE void update(float* __restrict parameter, std::uint16_t* __restrict rounded, Gradient* __restrict gradient,
                          float* __restrict mean, float* __restrict square, std::size_t count, float kept,
                          const AdamwStep step) {
  for (std::size_t i = 0; i < count; ++i) {
    adamw_element(parameter[i], arithmetic::load(gradient + i), mean[i], square[i], kept, step);
    if constexpr (kRounds) {
      rounded[i] = arithmetic::to_bfloat16(parameter[i]);
    }
    gradient[i] = Gradient{};
  }
}

MOTLEY_CLONES void update_float(float* p, float* g, float* m, float* v, std::size_t count, float kept,
                                const AdamwStep& step) {
  update<false>(p, nullptr, g, m, v, count, kept, step);
}
MOTLEY_CLONES void update_float_and_round(float* p, std::uint16_t* rounded, float* g, float* m, float* v,
                                          std::size_t count, float kept, const AdamwStep& step) {
  update<true>(p, rounded, g, m, v, count, kept, step);
}
MOTLEY_CLONES void update_bfloat16(float* p, std::uint16_t* g, float* m, float* v, std::size_t count, float kept,
                                   const AdamwStep& step) {
  update<false>(p, nullptr, g, m, v, count, kept, step);
}
MOTLEY_CLONES void update_bfloat16_and_round(float* p, std::uint16_t* rounded, std::uint16_t* g, float* m, float* v,
                                             std::size_t count, float kept, const AdamwStep& step) {
  update<true>(p, rounded, g, m, v, count, kept, step);
}

}  // namespace

AdamwStep adamw_step_of(double rate, double beta1, double beta2, double epsilon, double weight_decay, std::int64_t step,
                        double clip_scale) {
  const auto t = static_cast<double>(step + 1);
  AdamwStep numbers{};
  numbers.clip = static_cast<float>(clip_scale);
  numbers.beta1 = static_cast<float>(beta1);
  numbers.rest1 = static_cast<float>(1.0 - beta1);
  numbers.beta2 = static_cast<float>(beta2);
  numbers.rest2 = static_cast<float>(1.0 - beta2);
  numbers.size = static_cast<float>(rate / (1.0 - std::pow(beta1, t)));
  numbers.spread = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
  numbers.epsilon = static_cast<float>(epsilon);
  numbers.kept = static_cast<float>(1.0 - rate * weight_decay);
  return numbers;
}

void adamw_on_cpu(const AdamwBuffers& buffers, const DecayRun* runs, std::size_t run_count, const AdamwStep& step) {
  for_each_run(runs, run_count, [&](std::size_t begin, std::size_t count, bool decays) {
    const float kept = decays ? step.kept : 1.0F;
    float* const p = buffers.parameter + begin;
    float* const m = buffers.mean + begin;
    float* const v = buffers.square + begin;
    std::uint16_t* const rounded = buffers.rounded == nullptr ? nullptr : buffers.rounded + begin;
    if (buffers.gradient_element == Element::Float32) {
      auto* const g = static_cast<float*>(buffers.gradient) + begin;
      rounded == nullptr ? update_float(p, g, m, v, count, kept, step)
                         : update_float_and_round(p, rounded, g, m, v, count, kept, step);
    } else {
      auto* const g = static_cast<std::uint16_t*>(buffers.gradient) + begin;
      rounded == nullptr ? update_bfloat16(p, g, m, v, count, kept, step)
                         : update_bfloat16_and_round(p, rounded, g, m, v, count, kept, step);
    }
  });
}

}  // namespace motley::kernels

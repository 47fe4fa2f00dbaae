#pragma once

#include <cstddef>
#include <cstdint>

#include "motley/kernels/decay_runs.h"
#include "motley/kernels/element.h"

namespace motley::kernels {

/// The numbers of one step of AdamW (Loshchilov and Hutter, ICLR 2019; formula and defaults of torch.optim.AdamW),
/// rounded to float32 once, on the host, so that every version computes with the same ones.
struct AdamwStep {
  float clip;     ///< factor on gradients
  float beta1;    ///< of the mean
  float rest1;    ///< 1 - beta1
  float beta2;    ///< of the mean square
  float rest2;    ///< 1 - beta2
  float size;     ///< rate / (1 - beta1^t)
  float spread;   ///< 1 / sqrt(1 - beta2^t)
  float epsilon;  ///< added to the root of the corrected mean square
  float kept;     ///< 1 - rate * weight_decay: what a parameter that decays keeps of itself
};

/// Step `step` counts from 0: t = step + 1.
[[nodiscard]] AdamwStep adamw_step_of(double rate, double beta1, double beta2, double epsilon, double weight_decay,
                                      std::int64_t step, double clip_scale);

/// Flat buffers of one layout: all parameters of a layer or of a whole stage, each aligned to 64 bytes.
struct AdamwBuffers {
  float* parameter;        ///< in mixed precision the master copy
  std::uint16_t* rounded;  ///< null, or bfloat16: gets the new parameters, rounded to nearest even
  void* gradient;          ///< zeroed
  Element gradient_element;
  float* mean;
  float* square;
};

// For each element, in float32 and this order of operations:
//   d = gradient * clip;  mean = beta1 * mean + rest1 * d;  square = beta2 * square + rest2 * d * d
//   parameter = parameter * kept - size * mean / (sqrt(square) * spread + epsilon)
// One pass: 16 bytes read and 16 written an element, 2 more with `rounded`, 4 less with gradients in bfloat16. `runs`
// cover the buffers.

/// On the host, vectorised. All versions give the same bits.
void adamw_on_cpu(const AdamwBuffers& buffers, const DecayRun* runs, std::size_t run_count, const AdamwStep& step);

/// The plain loop that the others are compared with.
void adamw_reference(const AdamwBuffers& buffers, const DecayRun* runs, std::size_t run_count, const AdamwStep& step);

}  // namespace motley::kernels

#pragma once

#include <cstddef>
#include <cstdint>

#include "motley/kernels/decay_runs.h"

namespace motley::kernels {

/// The numbers of one step of SGD with momentum (formula of torch.optim.SGD without dampening).
struct SgdStep {
  float clip;   ///< factor on gradients
  float rate;   ///< learning rate
  float decay;  ///< of parameters that decay, added to the gradient
  float keep;   ///< what momentum keeps of itself
};

/// Flat buffers of one layout, as AdamwBuffers.
struct SgdBuffers {
  float* parameter;        ///< in mixed precision the master copy
  std::uint16_t* rounded;  ///< null, or bfloat16: gets the new parameters, rounded to nearest even
  float* gradient;         ///< zeroed
  float* momentum;         ///< null: none
};

// For each element, in float32 and this order of operations:
//   d = gradient * clip + decay * parameter;  with momentum: d = momentum = keep * momentum + d
//   parameter = parameter - rate * d
// One pass: 8 bytes read and 8 written an element, 4 more each with momentum, 2 more with `rounded`. `runs` cover the
// buffers.

/// On the host, vectorised. All versions give the same bits.
void sgd_on_cpu(const SgdBuffers& buffers, const DecayRun* runs, std::size_t run_count, const SgdStep& step);

/// The plain loop that the others are compared with.
void sgd_reference(const SgdBuffers& buffers, const DecayRun* runs, std::size_t run_count, const SgdStep& step);

}  // namespace motley::kernels

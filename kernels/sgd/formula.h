#pragma once

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/sgd/sgd.h"

namespace motley::kernels {

/// One element's step without momentum, the same source for host and device. `decay` is 0 where the parameter does not
/// decay.
MOTLEY_HOST_DEVICE void sgd_element(float& parameter, float gradient, float decay, const SgdStep& step) {
  using namespace arithmetic;
  const float d = sum(product(gradient, step.clip), product(decay, parameter));
  parameter = sum(parameter, -product(step.rate, d));
}

/// With momentum.
MOTLEY_HOST_DEVICE void sgd_element(float& parameter, float gradient, float& momentum, float decay,
                                    const SgdStep& step) {
  using namespace arithmetic;
  const float d = sum(product(gradient, step.clip), product(decay, parameter));
  momentum = sum(product(step.keep, momentum), d);
  parameter = sum(parameter, -product(step.rate, momentum));
}

/// All that a step does at element `i`, one at a time.
MOTLEY_HOST_DEVICE void sgd_at(const SgdBuffers& buffers, std::size_t i, bool decays, const SgdStep& step) {
  const float decay = decays ? step.decay : 0.0F;
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

}  // namespace motley::kernels

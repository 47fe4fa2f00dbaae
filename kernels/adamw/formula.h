#pragma once

#include "motley/kernels/adamw/adamw.h"
#include "motley/kernels/arithmetic.h"

namespace motley::kernels {

/// One element's step, the same source for host and device. `kept` is 1 where the parameter does not decay.
MOTLEY_HOST_DEVICE void adamw_element(float& parameter, float gradient, float& mean, float& square, float kept,
                                      const AdamwStep& step) {
  using namespace arithmetic;
  const float d = product(gradient, step.clip);
  mean = sum(product(step.beta1, mean), product(step.rest1, d));
  square = sum(product(step.beta2, square), product(product(step.rest2, d), d));
  const float root = sum(product(square_root(square), step.spread), step.epsilon);
  parameter = sum(product(parameter, kept), -quotient(product(step.size, mean), root));
}

}  // namespace motley::kernels

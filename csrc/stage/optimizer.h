#pragma once

#include <cstdint>
#include <string>

#include "motley/base/tensor_spec.h"

namespace motley {

/// How weights follow gradients. The names and meanings of torch.optim.
struct OptimizerOptions {
  std::string name = "adamw";  ///< or "sgd"
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;  ///< decoupled for adamw, added to the gradient for sgd; only where a parameter decays
  double momentum = 0.0;      ///< sgd only
  double clip_norm = 0.0;     ///< most that the whole model's gradient norm may be; 0: no limit
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 0;  ///< 0: no decay
  double min_ratio = 0.0;        ///< of learning_rate, where the cosine ends
  /// What layers compute with: float32, or bfloat16, rounded after every step from the float32 parameters that the
  /// optimiser keeps (Micikevicius et al., 2018; without their loss scaling, which bfloat16's exponents need not).
  DType parameters = DType::Float32;

  /// Rate of step `step` (from 0): linear from learning_rate / warmup_steps up, then a cosine from learning_rate at
  /// step warmup_steps to min_ratio * learning_rate at step total_steps - 1 and after.
  [[nodiscard]] double rate_at(std::int64_t step) const;

  /// Factor on gradients for the whole model's squared norm (1 where there is no limit or it is kept).
  [[nodiscard]] double clip_scale(double squared_norm) const;

  /// Throws InputError naming the field that does not fit.
  void validate() const;

  /// Floats of state per parameter: 2 for adamw, 1 for sgd with momentum, else 0.
  [[nodiscard]] int state_buffers() const;
};

}  // namespace motley

#include "motley/stage/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "motley/base/error.h"

namespace motley {

double OptimizerOptions::rate_at(std::int64_t step) const {
  if (step < warmup_steps) {
    return learning_rate * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  if (total_steps <= 0) {
    return learning_rate;
  }
  const double span = static_cast<double>(std::max<std::int64_t>(total_steps - 1 - warmup_steps, 1));
  const double done = std::clamp(static_cast<double>(step - warmup_steps) / span, 0.0, 1.0);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return learning_rate * (min_ratio + (1.0 - min_ratio) * cosine);
}

double OptimizerOptions::clip_scale(double squared_norm) const {
  const double norm = std::sqrt(squared_norm);
  return clip_norm > 0.0 && norm > clip_norm ? clip_norm / norm : 1.0;
}

int OptimizerOptions::state_buffers() const {
  if (name == "adamw") {
    return 2;
  }
  return momentum > 0.0 ? 1 : 0;
}

void OptimizerOptions::validate() const {
  if (name != "adamw" && name != "sgd") {
    throw InputError::of("optimizer name: found \"{}\", expected \"adamw\" or \"sgd\"", name);
  }
  const auto within = [](const char* field, double value, double least, double most) {
    if (!(value >= least && value <= most)) {
      throw InputError::of("optimizer {}: found {}, expected a number from {} to {}", field, value, least, most);
    }
  };
  within("learning_rate", learning_rate, 0.0, 1e6);
  within("beta1", beta1, 0.0, std::nextafter(1.0, 0.0));
  within("beta2", beta2, 0.0, std::nextafter(1.0, 0.0));
  within("epsilon", epsilon, 0.0, 1.0);
  within("weight_decay", weight_decay, 0.0, 1e6);
  within("momentum", momentum, 0.0, 1.0);
  within("clip_norm", clip_norm, 0.0, 1e30);
  within("min_ratio", min_ratio, 0.0, 1.0);
  within("warmup_steps", static_cast<double>(warmup_steps), 0.0, 1e15);
  within("total_steps", static_cast<double>(total_steps), 0.0, 1e15);
}

}  // namespace motley

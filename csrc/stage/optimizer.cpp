#include "motley/stage/optimizer.h"

#include <array>
#include <cmath>

#include "motley/base/error.h"

namespace motley {

void adamw_step(std::span<float> parameter, std::span<float> gradient, std::span<float> mean, std::span<float> square,
                const OptimizerOptions& options, std::int64_t step, double decay, double clip_scale) {
  const std::size_t n = parameter.size();
  MOTLEY_CHECK(gradient.size() == n && mean.size() == n && square.size() == n, "buffers of {} parameters", n);
  const double rate = options.rate_at(step);
  const auto t = static_cast<double>(step + 1);
  const double correction1 = 1.0 - std::pow(options.beta1, t);
  const double correction2 = 1.0 - std::pow(options.beta2, t);
  const auto kept = static_cast<float>(1.0 - rate * decay);
  const auto size = static_cast<float>(rate / correction1);
  const auto spread = static_cast<float>(1.0 / std::sqrt(correction2));
  const auto epsilon = static_cast<float>(options.epsilon);
  const auto beta1 = static_cast<float>(options.beta1);
  const auto beta2 = static_cast<float>(options.beta2);
  const auto rest1 = static_cast<float>(1.0 - options.beta1);
  const auto rest2 = static_cast<float>(1.0 - options.beta2);
  const auto clip = static_cast<float>(clip_scale);

  float* __restrict p = parameter.data();
  float* __restrict g = gradient.data();
  float* __restrict m = mean.data();
  float* __restrict v = square.data();
  for (std::size_t i = 0; i < n; ++i) {
    const float d = g[i] * clip;
    m[i] = beta1 * m[i] + rest1 * d;
    v[i] = beta2 * v[i] + rest2 * d * d;
    p[i] = p[i] * kept - size * m[i] / (std::sqrt(v[i]) * spread + epsilon);
    g[i] = 0.0F;
  }
}

void sgd_step(std::span<float> parameter, std::span<float> gradient, std::span<float> momentum,
              const OptimizerOptions& options, std::int64_t step, double decay, double clip_scale) {
  const std::size_t n = parameter.size();
  MOTLEY_CHECK(gradient.size() == n && (momentum.empty() || momentum.size() == n), "buffers of {} parameters", n);
  const auto rate = static_cast<float>(options.rate_at(step));
  const auto pull = static_cast<float>(decay);
  const auto keep = static_cast<float>(options.momentum);
  const auto clip = static_cast<float>(clip_scale);

  float* __restrict p = parameter.data();
  float* __restrict g = gradient.data();
  float* __restrict m = momentum.data();
  if (momentum.empty()) {
    for (std::size_t i = 0; i < n; ++i) {
      p[i] -= rate * (g[i] * clip + pull * p[i]);
      g[i] = 0.0F;
    }
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    m[i] = keep * m[i] + (g[i] * clip + pull * p[i]);
    p[i] -= rate * m[i];
    g[i] = 0.0F;
  }
}

double squared_norm(std::span<const float> values) {
  std::array<double, 8> lanes{};
  const std::size_t whole = values.size() / lanes.size() * lanes.size();
  for (std::size_t i = 0; i < whole; i += lanes.size()) {
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      const double value = values[i + lane];
      lanes[lane] += value * value;
    }
  }
  double sum = 0.0;
  for (std::size_t i = whole; i < values.size(); ++i) {
    sum += static_cast<double>(values[i]) * values[i];
  }
  for (const double lane : lanes) {
    sum += lane;
  }
  return sum;
}

}  // namespace motley

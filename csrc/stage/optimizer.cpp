#include "motley/stage/optimizer.h"

#include "motley/base/error.h"

namespace motley {

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

}  // namespace motley

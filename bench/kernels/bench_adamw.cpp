// AdamW, SGD and the gradient norm on the host: the plain loops that the kernels replaced in the engine, the kernels,
// what LibTorch has, and what the memory can do.
#include <ATen/ATen.h>

#include <cmath>
#include <cstring>

#include "kernels/measure.h"
#include "motley/kernels/adamw/adamw.h"
#include "motley/kernels/sgd/sgd.h"
#include "motley/kernels/squared_norm/squared_norm.h"

namespace motley {
namespace {

// Compiled for the plain instruction set with -O3, as it was in the engine.
void plain_adamw(float* __restrict p, float* __restrict g, float* __restrict m, float* __restrict v, std::size_t n,
                 const kernels::AdamwStep step) {
  for (std::size_t i = 0; i < n; ++i) {
    const float d = g[i] * step.clip;
    m[i] = step.beta1 * m[i] + step.rest1 * d;
    v[i] = step.beta2 * v[i] + step.rest2 * d * d;
    p[i] = p[i] * step.kept - step.size * m[i] / (std::sqrt(v[i]) * step.spread + step.epsilon);
    g[i] = 0.0F;
  }
}

double eight_lanes(const float* values, std::size_t n) {
  double lanes[8] = {};
  for (std::size_t i = 0; i + 8 <= n; i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) {
      lanes[lane] += static_cast<double>(values[i + lane]) * values[i + lane];
    }
  }
  return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
}

void measure(std::int64_t count) {
  const at::Tensor p = at::randn({count}), g = at::randn({count}), m = at::randn({count}), v = at::rand({count});
  const at::Tensor halves = at::zeros({count}, at::kBFloat16), half_gradients = at::zeros({count}, at::kBFloat16);
  const at::Tensor steps = at::ones({});
  const at::Tensor from = at::randn({4 * count}), to = at::empty({4 * count});
  const auto n = static_cast<std::size_t>(count);
  const kernels::AdamwStep step = kernels::adamw_step_of(1e-3, 0.9, 0.999, 1e-8, 0.01, 5, 0.5);
  const kernels::DecayRun run{n, true};
  const kernels::AdamwBuffers buffers{
      p.data_ptr<float>(), nullptr, g.data_ptr(), kernels::Element::Float32, m.data_ptr<float>(), v.data_ptr<float>()};
  kernels::AdamwBuffers mixed = buffers;
  mixed.rounded = static_cast<std::uint16_t*>(halves.data_ptr());
  kernels::AdamwBuffers narrow = mixed;
  narrow.gradient = half_gradients.data_ptr();
  narrow.gradient_element = kernels::Element::BFloat16;
  const auto fused = [&] {
    at::_fused_adamw_({p}, {g}, {m}, {v}, {}, {steps}, 1e-3, 0.9, 0.999, 0.01, 1e-8, false, false);
  };
  compare("adamw, " + std::to_string(count) + " parameters (bandwidth: 32 bytes each)",
          32.0 * static_cast<double>(count),
          {{"plain loop",
            [&] { plain_adamw(buffers.parameter, g.data_ptr<float>(), buffers.mean, buffers.square, n, step); }},
           {"adamw_on_cpu", [&] { kernels::adamw_on_cpu(buffers, &run, 1, step); }},
           {"adamw_on_cpu, bfloat16 parameters beside", [&] { kernels::adamw_on_cpu(mixed, &run, 1, step); }},
           {"adamw_on_cpu, bfloat16 gradients too", [&] { kernels::adamw_on_cpu(narrow, &run, 1, step); }},
           {"LibTorch _fused_adamw_", fused},
           {"LibTorch _fused_adamw_ and zero_",
            [&] {
              fused();
              g.zero_();
            }},
           {"memcpy of as many bytes", [&] { std::memcpy(to.data_ptr(), from.data_ptr(), 16 * n); }}});
  const kernels::SgdBuffers sgd{p.data_ptr<float>(), nullptr, g.data_ptr<float>(), m.data_ptr<float>()};
  const kernels::SgdStep sgd_step{0.5F, 1e-3F, 0.01F, 0.9F};
  compare("sgd with momentum, " + std::to_string(count) + " parameters (bandwidth: 24 bytes each)",
          24.0 * static_cast<double>(count),
          {{"plain loop", [&] { kernels::sgd_reference(sgd, &run, 1, sgd_step); }},
           {"sgd_on_cpu", [&] { kernels::sgd_on_cpu(sgd, &run, 1, sgd_step); }},
           {"LibTorch _fused_sgd_ and zero_",
            [&] {
              at::_fused_sgd_({p}, {g}, {m}, 0.01, 0.9, 1e-3, 0.0, false, false, false);
              g.zero_();
            }},
           {"memcpy of as many bytes", [&] { std::memcpy(to.data_ptr(), from.data_ptr(), 12 * n); }}});
  double sum = 0.0;
  compare(
      "squared norm, " + std::to_string(count) + " gradients (bandwidth: 4 bytes each)",
      4.0 * static_cast<double>(count),
      {{"plain loop", [&] { sum += kernels::squared_norm_reference(from.data_ptr(), kernels::Element::Float32, n); }},
       {"plain loop of eight lanes", [&] { sum += eight_lanes(from.data_ptr<float>(), n); }},
       {"squared_norm_on_cpu",
        [&] { sum += kernels::squared_norm_on_cpu(from.data_ptr(), kernels::Element::Float32, n); }},
       {"LibTorch norm (float32)", [&] { sum += at::linalg_vector_norm(from.narrow(0, 0, count)).item<double>(); }},
       {"LibTorch norm (double)",
        [&] { sum += at::linalg_vector_norm(from.narrow(0, 0, count), 2, {}, false, at::kDouble).item<double>(); }}});
  if (sum == 0.0) {
    std::printf("no gradients\n");
  }
}

}  // namespace

void bench_adamw() {
  for (const std::int64_t count : {16 << 10, 256 << 10, 4 << 20}) {
    measure(count);
  }
}

}  // namespace motley

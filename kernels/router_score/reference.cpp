#include <algorithm>
#include <cmath>

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/router_score/router_score.h"

namespace motley::kernels {
namespace {

double value_at(const void* values, Element element, std::size_t i) {
  return element == Element::Float32 ? arithmetic::load(static_cast<const float*>(values) + i)
                                     : arithmetic::load(static_cast<const std::uint16_t*>(values) + i);
}

}  // namespace

void router_score_reference(const RouterScoreInput& input, double scale, double* score, double* loss,
                            double* score_gradient, double* query_gradient, double* model_gradient,
                            double* bias_gradient) {
  const auto [queries, models, width, element, query, model, bias, label, weight, positive] = input;
  *loss = 0.0;
  std::fill(query_gradient, query_gradient + queries * width, 0.0);
  std::fill(model_gradient, model_gradient + models * width, 0.0);
  std::fill(bias_gradient, bias_gradient + models, 0.0);
  for (std::size_t q = 0; q < queries; ++q) {
    for (std::size_t m = 0; m < models; ++m) {
      double z = bias[m];
      for (std::size_t k = 0; k < width; ++k) {
        z += value_at(query, element, q * width + k) * value_at(model, element, m * width + k);
      }
      score[q * models + m] = z;
      const double y = label[q * models + m];
      double gradient = 0.0;
      if (!std::isnan(y)) {
        const double w = weight == nullptr ? 1.0 : weight[m];
        const double right = 1.0 + ((positive == nullptr ? 1.0 : positive[m]) - 1.0) * y;
        *loss += w * ((1.0 - y) * z + right * (std::log1p(std::exp(-std::abs(z))) + std::max(-z, 0.0)));
        gradient = w * (1.0 - y - right / (1.0 + std::exp(z)));
      }
      score_gradient[q * models + m] = gradient;
      for (std::size_t k = 0; k < width; ++k) {
        query_gradient[q * width + k] += scale * gradient * value_at(model, element, m * width + k);
        model_gradient[m * width + k] += scale * gradient * value_at(query, element, q * width + k);
      }
      bias_gradient[m] += scale * gradient;
    }
  }
}

}  // namespace motley::kernels

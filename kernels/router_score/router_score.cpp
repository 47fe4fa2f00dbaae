#include "motley/kernels/router_score/router_score.h"

#include <algorithm>
#include <cstring>

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/clones.h"

// The products are small and skinny (tens of models): what a library spends on packing matrices costs more there than
// the product. Tiles of a few rows by one or two vectors stay in registers. This file alone lets the compiler fuse a
// product and a sum, so its bits are those of the machine's instruction set.

namespace motley::kernels {
namespace {

// Eight lanes of the compiler's own vectors: two registers where the machine has four lanes.
constexpr std::size_t kLanes = 8;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Halves = std::uint16_t __attribute__((vector_size(kLanes * sizeof(std::uint16_t))));
using Words = std::uint32_t __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));

MOTLEY_INLINE void read(Lanes& lanes, const float* from) {
  std::memcpy(&lanes, from, sizeof lanes);
}
MOTLEY_INLINE void read(Lanes& lanes, const std::uint16_t* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&lanes, &words, sizeof lanes);
}

/// out(a, b) = a-th row of `left` times b-th row of `right` plus bias[b]. Tiles of two rows by four.
template <typename Value>
MOTLEY_INLINE void rows_times_rows(const Value* left, std::size_t lefts, const Value* right, std::size_t rights,
                                   std::size_t width, const float* bias, float* out) {
  constexpr std::size_t kA = 2;
  constexpr std::size_t kB = 4;
  const std::size_t whole = width / kLanes * kLanes;
  for (std::size_t a0 = 0; a0 < lefts; a0 += kA) {
    for (std::size_t b0 = 0; b0 < rights; b0 += kB) {
      // Beyond the last row, the last row again: its results are not kept.
      const Value* as[kA];
      const Value* bs[kB];
      for (std::size_t a = 0; a < kA; ++a) {
        as[a] = left + std::min(a0 + a, lefts - 1) * width;
      }
      for (std::size_t b = 0; b < kB; ++b) {
        bs[b] = right + std::min(b0 + b, rights - 1) * width;
      }
      Lanes sums[kA][kB] = {};
      for (std::size_t k = 0; k < whole; k += kLanes) {
        Lanes x[kA];
        for (std::size_t a = 0; a < kA; ++a) {
          read(x[a], as[a] + k);
        }
        for (std::size_t b = 0; b < kB; ++b) {
          Lanes y;
          read(y, bs[b] + k);
          for (std::size_t a = 0; a < kA; ++a) {
            sums[a][b] += x[a] * y;
          }
        }
      }
      for (std::size_t a = 0; a < kA && a0 + a < lefts; ++a) {
        for (std::size_t b = 0; b < kB && b0 + b < rights; ++b) {
          const Lanes s = sums[a][b];
          float sum = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
          for (std::size_t k = whole; k < width; ++k) {
            sum += arithmetic::load(as[a] + k) * arithmetic::load(bs[b] + k);
          }
          out[(a0 + a) * rights + b0 + b] = sum + bias[b0 + b];
        }
      }
    }
  }
}

/// out(r, w) = (kAdds: before +) scale * sum over k of factor(r, k) * rows(k, w), where factor(r, k) lies at
/// factors[r * row + k * step]. Tiles of four rows by two vectors.
template <bool kAdds, typename Value>
MOTLEY_INLINE void factors_times_rows(const float* factors, std::size_t row, std::size_t step, std::size_t outs,
                                      const Value* rows, std::size_t count, std::size_t width, float scale,
                                      float* out) {
  constexpr std::size_t kR = 4;
  constexpr std::size_t kV = 2;
  const std::size_t whole = width / (kV * kLanes) * (kV * kLanes);
  for (std::size_t r0 = 0; r0 < outs; r0 += kR) {
    const float* fs[kR];
    for (std::size_t r = 0; r < kR; ++r) {
      fs[r] = factors + std::min(r0 + r, outs - 1) * row;
    }
    const std::size_t kept = std::min(kR, outs - r0);
    for (std::size_t w = 0; w < whole; w += kV * kLanes) {
      Lanes sums[kR][kV] = {};
      for (std::size_t k = 0; k < count; ++k) {
        Lanes x[kV];
        for (std::size_t v = 0; v < kV; ++v) {
          read(x[v], rows + k * width + w + v * kLanes);
        }
        for (std::size_t r = 0; r < kR; ++r) {
          const float factor = fs[r][k * step];
          for (std::size_t v = 0; v < kV; ++v) {
            sums[r][v] += factor * x[v];
          }
        }
      }
      for (std::size_t r = 0; r < kept; ++r) {
        for (std::size_t v = 0; v < kV; ++v) {
          float* const to = out + (r0 + r) * width + w + v * kLanes;
          Lanes result = scale * sums[r][v];
          if constexpr (kAdds) {
            Lanes before;
            read(before, to);
            result += before;
          }
          std::memcpy(to, &result, sizeof result);
        }
      }
    }
    for (std::size_t r = 0; r < kept; ++r) {
      for (std::size_t w = whole; w < width; ++w) {
        float sum = 0.0F;
        for (std::size_t k = 0; k < count; ++k) {
          sum += fs[r][k * step] * arithmetic::load(rows + k * width + w);
        }
        float& to = out[(r0 + r) * width + w];
        to = kAdds ? to + scale * sum : scale * sum;
      }
    }
  }
}

MOTLEY_CLONES void scores(const float* query, std::size_t queries, const float* model, std::size_t models,
                          std::size_t width, const float* bias, float* score) {
  rows_times_rows(query, queries, model, models, width, bias, score);
}
MOTLEY_CLONES void scores(const std::uint16_t* query, std::size_t queries, const std::uint16_t* model,
                          std::size_t models, std::size_t width, const float* bias, float* score) {
  rows_times_rows(query, queries, model, models, width, bias, score);
}
MOTLEY_CLONES void query_gradient_of(const RouterScoreInput& in, const float* model, const float* by_score, float scale,
                                     float* out) {
  factors_times_rows<false>(by_score, in.models, 1, in.queries, model, in.models, in.width, scale, out);
}
MOTLEY_CLONES void query_gradient_of(const RouterScoreInput& in, const std::uint16_t* model, const float* by_score,
                                     float scale, float* out) {
  factors_times_rows<false>(by_score, in.models, 1, in.queries, model, in.models, in.width, scale, out);
}
MOTLEY_CLONES void model_gradient_of(const RouterScoreInput& in, const float* query, const float* by_score, float scale,
                                     float* out) {
  factors_times_rows<true>(by_score, 1, in.models, in.models, query, in.queries, in.width, scale, out);
}
MOTLEY_CLONES void model_gradient_of(const RouterScoreInput& in, const std::uint16_t* query, const float* by_score,
                                     float scale, float* out) {
  factors_times_rows<true>(by_score, 1, in.models, in.models, query, in.queries, in.width, scale, out);
}

}  // namespace

double router_score_on_cpu(const RouterScoreInput& input, float* score, float* score_gradient) {
  if (input.element == Element::Float32) {
    scores(static_cast<const float*>(input.query), input.queries, static_cast<const float*>(input.model), input.models,
           input.width, input.bias, score);
  } else {
    scores(static_cast<const std::uint16_t*>(input.query), input.queries,
           static_cast<const std::uint16_t*>(input.model), input.models, input.width, input.bias, score);
  }
  return router_loss_on_cpu(input, score, score_gradient);
}

void router_query_gradient_on_cpu(const RouterScoreInput& input, const float* score_gradient, float scale,
                                  float* query_gradient) {
  input.element == Element::Float32
      ? query_gradient_of(input, static_cast<const float*>(input.model), score_gradient, scale, query_gradient)
      : query_gradient_of(input, static_cast<const std::uint16_t*>(input.model), score_gradient, scale, query_gradient);
}

void router_model_gradient_on_cpu(const RouterScoreInput& input, const float* score_gradient, float scale,
                                  float* model_gradient, float* bias_gradient) {
  input.element == Element::Float32
      ? model_gradient_of(input, static_cast<const float*>(input.query), score_gradient, scale, model_gradient)
      : model_gradient_of(input, static_cast<const std::uint16_t*>(input.query), score_gradient, scale, model_gradient);
  for (std::size_t m = 0; m < input.models; ++m) {
    float sum = 0.0F;
    for (std::size_t q = 0; q < input.queries; ++q) {
      sum += score_gradient[q * input.models + m];
    }
    bias_gradient[m] += scale * sum;
  }
}

}  // namespace motley::kernels

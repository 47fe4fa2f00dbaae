#include "motley/kernels/router_score/router_score.cuh"

#include "motley/kernels/block_sum.h"
#include "motley/kernels/launch.h"
#include "motley/kernels/quad.h"
#include "motley/kernels/router_score/formula.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {
namespace {

constexpr unsigned kTile = 32;
constexpr unsigned kQueries = kRouterQueries;
static_assert(kQueries == kTile, "a tile of scores is square");
// Rows of a tile in shared memory: 16 bytes more than 32 values, so that the same column of eight rows lies in
// different banks and rows stay aligned.
constexpr unsigned kRow = kTile + 4;

/// `input` with its types.
template <typename Value>
struct Matrices {
  unsigned queries, models, width;
  const Value* query;
  const Value* model;
  const float* bias;
  const float* label;
  const float* weight;
  const float* positive;

  __device__ router::Entropy entropy(float score, unsigned q, unsigned m) const {
    return router::cross_entropy(score, label[static_cast<std::size_t>(q) * models + m],
                                 weight == nullptr ? 1.0F : weight[m], positive == nullptr ? 1.0F : positive[m]);
  }
};

template <typename Value>
Matrices<Value> matrices_of(const RouterScoreInput& input) {
  return {static_cast<unsigned>(input.queries),
          static_cast<unsigned>(input.models),
          static_cast<unsigned>(input.width),
          static_cast<const Value*>(input.query),
          static_cast<const Value*>(input.model),
          input.bias,
          input.label,
          input.weight,
          input.positive};
}

// ---- plain

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    scores_plain(Matrices<Value> in, float* score, float* score_gradient) {
  const unsigned m = blockIdx.x * kThreads + threadIdx.x;
  const unsigned q = blockIdx.y;
  if (m >= in.models) {
    return;
  }
  float sum = 0.0F;
  for (unsigned k = 0; k < in.width; ++k) {
    sum = arithmetic::fused(arithmetic::load(in.query + static_cast<std::size_t>(q) * in.width + k),
                            arithmetic::load(in.model + static_cast<std::size_t>(m) * in.width + k), sum);
  }
  const std::size_t place = static_cast<std::size_t>(q) * in.models + m;
  score[place] = sum + in.bias[m];
  score_gradient[place] = in.entropy(score[place], q, m).gradient;
}

/// A thread the losses of kQueries queries.
template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    losses_plain(Matrices<Value> in, const float* score, double* losses) {
  const unsigned tile = blockIdx.x * kThreads + threadIdx.x;
  if (tile * kQueries >= in.queries) {
    return;
  }
  double sum = 0.0;
  for (unsigned q = tile * kQueries; q < in.queries && q < (tile + 1) * kQueries; ++q) {
    for (unsigned m = 0; m < in.models; ++m) {
      sum += in.entropy(score[static_cast<std::size_t>(q) * in.models + m], q, m).loss;
    }
  }
  losses[tile] = sum;
}

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    query_gradient_plain(Matrices<Value> in, const float* score_gradient, float scale, float* query_gradient) {
  const unsigned k = blockIdx.x * kThreads + threadIdx.x;
  const unsigned q = blockIdx.y;
  if (k >= in.width) {
    return;
  }
  float sum = 0.0F;
  for (unsigned m = 0; m < in.models; ++m) {
    sum = arithmetic::fused(score_gradient[static_cast<std::size_t>(q) * in.models + m],
                            arithmetic::load(in.model + static_cast<std::size_t>(m) * in.width + k), sum);
  }
  query_gradient[static_cast<std::size_t>(q) * in.width + k] = scale * sum;
}

/// Sums of a span of queries; column `width` is the bias.
template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    model_gradient_plain(Matrices<Value> in, const float* score_gradient, float* partial) {
  const unsigned k = blockIdx.x * kThreads + threadIdx.x;
  const unsigned m = blockIdx.y;
  const unsigned span = blockIdx.z;
  if (k > in.width) {
    return;
  }
  float sum = 0.0F;
  for (unsigned q = span * kRouterSpan; q < in.queries && q < (span + 1) * kRouterSpan; ++q) {
    const float query = k == in.width ? 1.0F : arithmetic::load(in.query + static_cast<std::size_t>(q) * in.width + k);
    sum = arithmetic::fused(score_gradient[static_cast<std::size_t>(q) * in.models + m], query, sum);
  }
  partial[(static_cast<std::size_t>(span) * in.models + m) * (in.width + 1) + k] = sum;
}

// ---- tiled

/// 32 by 32 values of a matrix into shared memory, a quad a thread; what lies outside it is 0.
template <typename Value>
__device__ inline void load_tile(float* tile, const Value* matrix, unsigned rows, unsigned width, unsigned first_row,
                                 unsigned first_column) {
  const unsigned row = threadIdx.x / 8;
  const unsigned column = threadIdx.x % 8 * 4;
  Quad quad;
  if (first_row + row < rows && first_column + column < width) {
    quad.load(matrix + static_cast<std::size_t>(first_row + row) * width, first_column + column, width);
  }
  quad.store(tile + row * kRow + column);
}

/// The same for score gradients, whose rows of `models` need not be aligned.
__device__ inline void load_gradient_tile(float* tile, const float* gradient, unsigned queries, unsigned models,
                                          unsigned first_query, unsigned first_model) {
  for (unsigned i = threadIdx.x; i < kTile * kTile; i += kThreads) {
    const unsigned q = first_query + i / kTile;
    const unsigned m = first_model + i % kTile;
    tile[i / kTile * kRow + i % kTile] =
        q < queries && m < models ? gradient[static_cast<std::size_t>(q) * models + m] : 0.0F;
  }
}

__device__ inline void multiply_add(Quad& sum, float factor, const Quad& values) {
  MOTLEY_UNROLL
  for (unsigned i = 0; i < 4; ++i) {
    sum.value[i] = arithmetic::fused(factor, values.value[i], sum.value[i]);
  }
}

/// Scores and gradients of the block's queries, and their loss. A thread has 2 by 2 scores of each 32 by 32.
template <typename Value>
__device__ inline void score_tiles(const Matrices<Value>& in, unsigned first_query, float* left, float* right,
                                   double* losses, float* score, float* score_gradient) {
  const unsigned y = threadIdx.x / 16;
  const unsigned x = threadIdx.x % 16;
  double loss = 0.0;
  for (unsigned first_model = 0; first_model < in.models; first_model += kTile) {
    float sums[2][2] = {{0.0F, 0.0F}, {0.0F, 0.0F}};
    for (unsigned k = 0; k < in.width; k += kTile) {
      load_tile(left, in.query, in.queries, in.width, first_query, k);
      load_tile(right, in.model, in.models, in.width, first_model, k);
      __syncthreads();
      MOTLEY_UNROLL
      for (unsigned column = 0; column < kTile; column += 4) {
        Quad a[2];
        Quad b[2];
        for (unsigned i = 0; i < 2; ++i) {
          a[i].load(left + (y + 16 * i) * kRow + column);
          b[i].load(right + (x + 16 * i) * kRow + column);
        }
        MOTLEY_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          MOTLEY_UNROLL
          for (unsigned pair = 0; pair < 4; ++pair) {
            float& sum = sums[pair / 2][pair % 2];
            sum = arithmetic::fused(a[pair / 2].value[i], b[pair % 2].value[i], sum);
          }
        }
      }
      __syncthreads();
    }
    MOTLEY_UNROLL
    for (unsigned pair = 0; pair < 4; ++pair) {
      const unsigned q = first_query + y + 16 * (pair / 2);
      const unsigned m = first_model + x + 16 * (pair % 2);
      if (q < in.queries && m < in.models) {
        const float z = sums[pair / 2][pair % 2] + in.bias[m];
        const router::Entropy entropy = in.entropy(z, q, m);
        const std::size_t place = static_cast<std::size_t>(q) * in.models + m;
        score[place] = z;
        score_gradient[place] = entropy.gradient;
        loss += entropy.loss;
      }
    }
  }
  loss = sum_of_block(loss);
  if (threadIdx.x == 0) {
    losses[blockIdx.x] = loss;
  }
}

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    score_tiled(Matrices<Value> in, float scale, double* losses, float* score, float* score_gradient,
                float* query_gradient) {
  alignas(16) __shared__ float left[kTile * kRow];
  alignas(16) __shared__ float right[kTile * kRow];
  const unsigned first_query = blockIdx.x * kQueries;
  score_tiles(in, first_query, left, right, losses, score, score_gradient);
  if (query_gradient == nullptr) {
    return;
  }
  __syncthreads();  // this block's score gradients are written: they come back through the cache
  const unsigned row = threadIdx.x / 8;
  const unsigned column = threadIdx.x % 8 * 4;
  const unsigned q = first_query + row;
  for (unsigned k = 0; k < in.width; k += kTile) {
    Quad sum;
    for (unsigned first_model = 0; first_model < in.models; first_model += kTile) {
      load_gradient_tile(left, score_gradient, in.queries, in.models, first_query, first_model);
      load_tile(right, in.model, in.models, in.width, first_model, k);
      __syncthreads();
      MOTLEY_UNROLL
      for (unsigned m = 0; m < kTile; m += 4) {
        Quad factors;
        factors.load(left + row * kRow + m);
        MOTLEY_UNROLL
        for (unsigned i = 0; i < 4; ++i) {
          Quad model;
          model.load(right + (m + i) * kRow + column);
          multiply_add(sum, factors.value[i], model);
        }
      }
      __syncthreads();
    }
    if (q < in.queries && k + column < in.width) {
      MOTLEY_UNROLL
      for (unsigned i = 0; i < 4; ++i) {
        sum.value[i] *= scale;
      }
      sum.store(query_gradient + static_cast<std::size_t>(q) * in.width, k + column, in.width);
    }
  }
}

/// Block (x, y, z): 32 columns, 32 models, a span of queries.
template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    model_gradient_tiled(Matrices<Value> in, const float* score_gradient, float* partial) {
  alignas(16) __shared__ float factors[kTile * kRow];
  alignas(16) __shared__ float queries[kTile * kRow];
  const unsigned first_column = blockIdx.x * kTile;
  const unsigned first_model = blockIdx.y * kTile;
  const unsigned span = blockIdx.z;
  const unsigned row = threadIdx.x / 8;  // model
  const unsigned column = threadIdx.x % 8 * 4;
  Quad sum;
  float bias = 0.0F;
  for (unsigned q = span * kRouterSpan; q < in.queries && q < (span + 1) * kRouterSpan; q += kTile) {
    load_gradient_tile(factors, score_gradient, in.queries, in.models, q, first_model);
    load_tile(queries, in.query, in.queries, in.width, q, first_column);
    __syncthreads();
    MOTLEY_UNROLL
    for (unsigned i = 0; i < kTile; ++i) {
      Quad query;
      query.load(queries + i * kRow + column);
      multiply_add(sum, factors[i * kRow + row], query);
      bias += factors[i * kRow + row];
    }
    __syncthreads();
  }
  const unsigned m = first_model + row;
  if (m >= in.models) {
    return;
  }
  float* const to = partial + (static_cast<std::size_t>(span) * in.models + m) * (in.width + 1);
  MOTLEY_UNROLL
  for (unsigned i = 0; i < 4; ++i) {
    if (first_column + column + i < in.width) {
      to[first_column + column + i] = sum.value[i];
    }
  }
  if (first_column == 0 && column == 0) {
    to[in.width] = bias;
  }
}

// ---- both

__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    add_losses(const double* losses, unsigned count, double* loss) {
  double sum = 0.0;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    sum += losses[i];
  }
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) {
    *loss = sum;
  }
}

/// A thread a weight: adds its spans in order.
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    add_spans(const float* partial, unsigned spans, unsigned models, unsigned width, const float* scale,
              float* model_gradient, float* bias_gradient) {
  const unsigned k = blockIdx.x * kThreads + threadIdx.x;
  const unsigned m = blockIdx.y;
  if (k > width) {
    return;
  }
  float sum = 0.0F;
  for (unsigned span = 0; span < spans; ++span) {
    sum += partial[(static_cast<std::size_t>(span) * models + m) * (width + 1) + k];
  }
  float* const to = k == width ? bias_gradient + m : model_gradient + static_cast<std::size_t>(m) * width + k;
  *to += *scale * sum;
}

unsigned pieces(std::size_t all, std::size_t each) {
  return static_cast<unsigned>((all + each - 1) / each);
}

template <typename Value>
int score_as(RouterVersion version, const RouterScoreInput& input, float scale, double* losses, double* loss,
             float* score, float* score_gradient, float* query_gradient, Stream stream) {
  const Matrices<Value> in = matrices_of<Value>(input);
  const unsigned tiles = pieces(input.queries, kQueries);
  int error = 0;
  if (tiles > 0 && version == RouterVersion::Tiled) {
    error = launch(score_tiled<Value>, dim3(tiles), dim3(kThreads), stream, in, scale, losses, score, score_gradient,
                   query_gradient);
  } else if (tiles > 0) {
    error = launch(scores_plain<Value>, dim3(pieces(input.models, kThreads), in.queries), dim3(kThreads), stream, in,
                   score, score_gradient);
    if (error == 0) {
      error = launch(losses_plain<Value>, dim3(pieces(tiles, kThreads)), dim3(kThreads), stream, in, score, losses);
    }
    if (error == 0 && query_gradient != nullptr) {
      error = launch(query_gradient_plain<Value>, dim3(pieces(input.width, kThreads), in.queries), dim3(kThreads),
                     stream, in, score_gradient, scale, query_gradient);
    }
  }
  return error != 0 ? error : launch(add_losses, dim3(1), dim3(kThreads), stream, losses, tiles, loss);
}

template <typename Value>
int model_gradient_as(RouterVersion version, const RouterScoreInput& input, const float* score_gradient,
                      const float* scale, float* partial, float* model_gradient, float* bias_gradient, Stream stream) {
  const Matrices<Value> in = matrices_of<Value>(input);
  const unsigned spans = pieces(input.queries, kRouterSpan);
  const unsigned columns = pieces(input.width + 1, kThreads);
  const int error =
      version == RouterVersion::Tiled
          ? launch(model_gradient_tiled<Value>, dim3(pieces(input.width, kTile), pieces(input.models, kTile), spans),
                   dim3(kThreads), stream, in, score_gradient, partial)
          : launch(model_gradient_plain<Value>, dim3(columns, in.models, spans), dim3(kThreads), stream, in,
                   score_gradient, partial);
  return error != 0 ? error
                    : launch(add_spans, dim3(columns, in.models), dim3(kThreads), stream, partial, spans, in.models,
                             in.width, scale, model_gradient, bias_gradient);
}

}  // namespace

int router_score(RouterVersion version, const RouterScoreInput& input, float scale, double* loss_scratch, double* loss,
                 float* score, float* score_gradient, float* query_gradient, Stream stream) {
  return input.element == Element::Float32
             ? score_as<float>(version, input, scale, loss_scratch, loss, score, score_gradient, query_gradient, stream)
             : score_as<std::uint16_t>(version, input, scale, loss_scratch, loss, score, score_gradient, query_gradient,
                                       stream);
}

int router_model_gradient(RouterVersion version, const RouterScoreInput& input, const float* score_gradient,
                          const float* scale, float* gradient_scratch, float* model_gradient, float* bias_gradient,
                          Stream stream) {
  if (input.queries == 0 || input.models == 0) {
    return 0;
  }
  return input.element == Element::Float32
             ? model_gradient_as<float>(version, input, score_gradient, scale, gradient_scratch, model_gradient,
                                        bias_gradient, stream)
             : model_gradient_as<std::uint16_t>(version, input, score_gradient, scale, gradient_scratch, model_gradient,
                                                bias_gradient, stream);
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

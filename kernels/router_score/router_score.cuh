#pragma once

#include "motley/kernels/router_score/router_score.h"
#include "motley/kernels/space.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The ladder, slowest first.
enum class RouterVersion {
  Plain,  ///< a thread a result, straight from memory
  Tiled,  ///< a block 32 queries, 32 models or 32 columns at a time through shared memory, loaded 16 bytes at a time
};

/// Queries that a block takes. What is summed over queries is summed over so many first.
inline constexpr std::size_t kRouterQueries = 32;
/// Queries whose weight gradient one block sums.
inline constexpr std::size_t kRouterSpan = 256;

/// Doubles of scratch that router_score needs.
[[nodiscard]] constexpr std::size_t router_loss_scratch(std::size_t queries) {
  return (queries + kRouterQueries - 1) / kRouterQueries;
}
/// Floats of scratch that router_model_gradient needs.
[[nodiscard]] constexpr std::size_t router_gradient_scratch(const RouterScoreInput& input) {
  return (input.queries + kRouterSpan - 1) / kRouterSpan * input.models * (input.width + 1);
}

// Device pointers, on `stream`; no atomics, so that a launch gives the same bits as the one before. Tiled needs query
// and model aligned to 16 bytes and a width that is a multiple of 4. Return a cudaError_t.

/// router_score_on_cpu and, where `query_gradient` is not null, router_query_gradient_on_cpu in the same launch; `loss`
/// is one double, summed by a second one.
int router_score(RouterVersion version, const RouterScoreInput& input, float scale, double* loss_scratch, double* loss,
                 float* score, float* score_gradient, float* query_gradient, Stream stream);

/// router_model_gradient_on_cpu: partial sums over spans of queries, then a launch that adds them in order. `scale` is
/// on the device too: what autograd hands a backward pass is not known to the host without waiting.
int router_model_gradient(RouterVersion version, const RouterScoreInput& input, const float* score_gradient,
                          const float* scale, float* gradient_scratch, float* model_gradient, float* bias_gradient,
                          Stream stream);

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "motley/workloads/workload.h"

namespace motley {

/// Data of a router: fields "embedding" (float16 [E]), "correct" (float32 [M], 0 or 1), "length" (float32 [M], log1p of
/// the answer's characters, standardised per LLM over the training split; what was not answered counts as the mean, 0),
/// "query" (int64, index within the source, all splits together).
class RouterData : public DataSource {
 public:
  [[nodiscard]] virtual std::int64_t embedding_width() const = 0;
  [[nodiscard]] virtual std::int64_t models() const = 0;
};

/// Reads embeddings.safetensors and outcomes.safetensors of `folder`. Throws InputError as
/// read_routing_tables() does.
[[nodiscard]] std::shared_ptr<const RouterData> read_router_data(const std::filesystem::path& folder);

struct SyntheticRouterOptions {
  std::int64_t embedding = 384;
  std::int64_t models = 28;
  std::int64_t samples = 1000;  ///< of the training split; the others have a tenth each, at least 1
  std::uint64_t seed = 1;
};

/// Unit embeddings at random, and LLMs that answer right where a hidden direction of theirs says so, with noise:
/// something can be learnt, nothing is real.
[[nodiscard]] std::shared_ptr<const RouterData> synthetic_router_data(const SyntheticRouterOptions& options);

}  // namespace motley

#pragma once

#include <cstdint>
#include <filesystem>

#include "motley/record/safetensors.h"

namespace motley {

/// The tensors of a folder of routing data (format: data/mmlu_pro/README.md): which LLM answered which query right.
/// Rows are queries, columns LLMs.
struct RoutingTables {
  SafetensorsFile embeddings;  ///< "embeddings"
  SafetensorsFile outcomes;  ///< "correct", "answered", "output_chars", "input_chars", "category", "query_id", "split"
  std::int64_t queries = 0;
  std::int64_t embedding_width = 0;
  std::int64_t models = 0;
};

/// Throws InputError naming file and tensor, what was found and what was expected: tensors of other types or shapes, an
/// embedding that is not finite, a flag that is neither 0 nor 1, a query that stands twice, in one split or in two, a
/// split without queries.
[[nodiscard]] RoutingTables read_routing_tables(const std::filesystem::path& folder);

}  // namespace motley

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace motley {

/// Which LLM answered which query right, how long its output was, what its tokens cost. Rows are queries, columns
/// models; matrices are row-major. Format: data/mmlu_pro/README.md.
struct RoutingData {
  std::vector<std::string> models;
  std::vector<double> usd_per_mtok_in;
  std::vector<double> usd_per_mtok_out;
  std::vector<std::string> categories;
  std::int64_t queries = 0;
  std::int64_t embedding_width = 0;
  std::vector<std::uint8_t> correct;
  std::vector<std::uint8_t> answered;
  std::vector<std::uint16_t> output_chars;
  std::vector<std::int32_t> input_chars;
  std::vector<std::uint8_t> category;
  std::vector<std::uint8_t> split;  ///< 0 train, 1 validation, 2 test
  std::vector<float> embeddings;    ///< [queries, embedding_width]

  [[nodiscard]] std::size_t model_count() const { return models.size(); }
  [[nodiscard]] bool right(std::size_t query, std::size_t model) const {
    return correct[query * models.size() + model] != 0;
  }
  /// Queries of a split, ascending: the order in which a run predicts them.
  [[nodiscard]] std::vector<std::size_t> of_split(int which) const;
  /// USD for one call: input and output characters over 4 characters a token, times list prices.
  [[nodiscard]] double usd(std::size_t query, std::size_t model, double output_characters) const;
};

/// Throws InputError naming file and tensor, what was found and what was expected.
[[nodiscard]] RoutingData read_routing_data(const std::filesystem::path& folder);

}  // namespace motley

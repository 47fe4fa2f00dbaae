#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "motley/schedule/action.h"

namespace motley {

/// A list of actions per rank: a compute schedule, or a lowered one with transfers.
struct Schedule {
  std::vector<std::vector<Action>> ranks;

  [[nodiscard]] int rank_count() const { return static_cast<int>(ranks.size()); }
  /// Highest stage named + 1. O(actions).
  [[nodiscard]] int stage_count() const;
  /// Highest micro-batch named + 1. O(actions).
  [[nodiscard]] int micro_batch_count() const;
  /// The ranks that compute each stage, ascending: several where it is replicated. Throws InputError if a stage is
  /// computed nowhere. O(actions).
  [[nodiscard]] std::vector<std::vector<int>> ranks_of_stage() const;
  /// The rank that computes each stage. Throws InputError if a stage is computed nowhere or on two ranks.
  [[nodiscard]] std::vector<int> rank_of_stage() const;

  friend bool operator==(const Schedule&, const Schedule&) = default;
};

/// One rank a row, actions separated by commas, as PyTorch's golden files.
[[nodiscard]] std::vector<std::string> csv_rows(const Schedule& schedule);
/// The same as one text, each row ended by a newline.
[[nodiscard]] std::string to_csv(const Schedule& schedule);
/// Throws InputError naming `source`, row and column.
[[nodiscard]] Schedule parse_csv(std::string_view text, const std::string& source);
[[nodiscard]] Schedule read_csv(const std::filesystem::path& file);

}  // namespace motley

#pragma once

#include <algorithm>
#include <utility>
#include <vector>

namespace motley {

/// Median of a sample and its inter-quartile range over the median (nearest ranks).
struct Spread {
  double median = 0.0;
  double relative = 0.0;
};

/// `values` must not be empty. O(n log n).
[[nodiscard]] inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  const double median = n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
  const double range = values[std::min(n - 1, 3 * n / 4)] - values[n / 4];
  return {median, median > 0.0 ? range / median : 0.0};
}

/// 0 of nothing.
[[nodiscard]] inline double median(std::vector<double> values) {
  return values.empty() ? 0.0 : spread_of(std::move(values)).median;
}

/// Of rows of one length, entry by entry; there is at least one.
[[nodiscard]] inline std::vector<double> median_of(const std::vector<std::vector<double>>& rows) {
  std::vector<double> merged(rows.front().size());
  for (std::size_t i = 0; i < merged.size(); ++i) {
    std::vector<double> values;
    for (const std::vector<double>& row : rows) {
      values.push_back(row[i]);
    }
    merged[i] = median(std::move(values));
  }
  return merged;
}

}  // namespace motley

#pragma once

#include <cstdint>
#include <span>

namespace motley {

/// Area under the ROC curve by the rank sum (Mann and Whitney, 1947), ties counted half. NaN where all labels are
/// equal. O(n log n).
[[nodiscard]] double roc_auc(std::span<const double> scores, std::span<const std::uint8_t> labels);

/// Mean squared error of probabilities (Brier, 1950).
[[nodiscard]] double brier(std::span<const double> probabilities, std::span<const std::uint8_t> labels);

}  // namespace motley

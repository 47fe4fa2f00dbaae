#pragma once

#include <cstdint>

#include "motley/workloads/workload.h"

namespace shapes {

constexpr std::int64_t kKinds = 4;  // disc, square, cross, diagonal

/// Images of one shape each, at a place, of a size and under noise that only the sample's number decides: field "image"
/// (float32 [1, side, side]) and "kind" (int64, below kKinds). The validation and test splits have a tenth of `samples`
/// each.
class Images final : public motley::DataSource {
 public:
  Images(std::int64_t samples, std::int64_t side, double noise) : samples_(samples), side_(side), noise_(noise) {}

  [[nodiscard]] std::int64_t size(motley::Split split) const override;
  [[nodiscard]] std::vector<std::string> fields() const override;
  [[nodiscard]] motley::Fields fetch(std::span<const std::string> names, motley::Split split,
                                     std::span<const std::int64_t> samples) const override;

 private:
  std::int64_t samples_;
  std::int64_t side_;
  double noise_;
};

}  // namespace shapes

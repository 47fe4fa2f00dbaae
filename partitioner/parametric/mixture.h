#pragma once

#include <optional>
#include <vector>

namespace motley::parametric {

/// The restricted master problem of column generation (Dantzig and Wolfe, 1960): weights >= 0 of the columns added so
/// far that add up to 1 and use in the mean at most the capacity of every resource, of these the cheapest. Simplex
/// method with a dense basis of (resources + 1)^2, the artificial variable in a first phase of its own.
class Mixture {
 public:
  explicit Mixture(std::vector<double> capacities);

  /// What a further column would have to beat: cost (0 while not `feasible`) + sum(price * use) < `rest`.
  struct Prices {
    bool feasible = false;      ///< some mixture keeps within the capacities
    std::vector<double> price;  ///< [resource], >= 0
    double rest = 0.0;
  };
  /// Of the best mixture so far; nothing when rounding keeps it from being found. O(columns * resources + resources^3)
  /// for each of a few exchanges.
  [[nodiscard]] std::optional<Prices> solve();
  void add(std::vector<double> use, double cost);
  /// [column], of the mixture that the last prices belong to.
  [[nodiscard]] std::vector<double> weights() const;

 private:
  static constexpr int kArtificial = -1;

  [[nodiscard]] double cost(int variable) const;
  [[nodiscard]] std::vector<double> column(int variable) const;
  [[nodiscard]] std::vector<std::vector<double>> basis(bool transposed) const;

  std::size_t rows_;
  std::vector<double> right_;
  std::vector<std::vector<double>> columns_;
  std::vector<double> costs_;
  std::vector<int> basic_;  // -1: artificial; up to the resources: their slacks; then columns
  bool feasible_ = false;
};

}  // namespace motley::parametric

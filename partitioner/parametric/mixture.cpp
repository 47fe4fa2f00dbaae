#include "motley/partitioner/parametric/mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace motley::parametric {
namespace {

constexpr double kZero = 1e-9;
constexpr double kApart = 1e-7;  // capacities are made to differ by so much, so that no exchange is idle
constexpr int kMostExchanges = 200;

/// Gauss's elimination with row pivots.
std::vector<double> solved(std::vector<std::vector<double>> matrix, std::vector<double> right) {
  const std::size_t n = right.size();
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t i = k + 1; i < n; ++i) {
      if (std::abs(matrix[i][k]) > std::abs(matrix[pivot][k])) pivot = i;
    }
    std::swap(matrix[pivot], matrix[k]);
    std::swap(right[pivot], right[k]);
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = matrix[i][k] / matrix[k][k];
      if (factor == 0.0) continue;
      for (std::size_t j = k; j < n; ++j) matrix[i][j] -= factor * matrix[k][j];
      right[i] -= factor * right[k];
    }
  }
  for (std::size_t k = n; k-- > 0;) {
    for (std::size_t j = k + 1; j < n; ++j) right[k] -= matrix[k][j] * right[j];
    right[k] /= matrix[k][k];
  }
  return right;
}

}  // namespace

Mixture::Mixture(std::vector<double> capacities) : rows_(capacities.size() + 1), right_(std::move(capacities)) {
  for (std::size_t r = 0; r < right_.size(); ++r) right_[r] += kApart * static_cast<double>(r + 1);
  right_.push_back(1.0);
  basic_.resize(rows_);
  std::iota(basic_.begin(), basic_.end(), 0);
  basic_.back() = kArtificial;
}

void Mixture::add(std::vector<double> use, double cost) {
  use.push_back(1.0);
  columns_.push_back(std::move(use));
  costs_.push_back(cost);
}

std::vector<double> Mixture::weights() const {
  std::vector<double> of_columns(columns_.size(), 0.0);
  const std::vector<double> weights = solved(basis(false), right_);
  const int resources = static_cast<int>(rows_) - 1;
  for (std::size_t k = 0; k < rows_; ++k) {
    if (basic_[k] >= resources) of_columns[basic_[k] - resources] = weights[k];
  }
  return of_columns;
}

double Mixture::cost(int variable) const {
  const int resources = static_cast<int>(rows_) - 1;
  if (variable == kArtificial) return feasible_ ? std::numeric_limits<float>::max() : 1.0;
  return !feasible_ || variable < resources ? 0.0 : costs_[variable - resources];
}

std::vector<double> Mixture::column(int variable) const {
  const int resources = static_cast<int>(rows_) - 1;
  if (variable >= resources) return columns_[variable - resources];
  std::vector<double> unit(rows_, 0.0);
  unit[variable == kArtificial ? resources : variable] = 1.0;
  return unit;
}

std::vector<std::vector<double>> Mixture::basis(bool transposed) const {
  std::vector<std::vector<double>> matrix(rows_, std::vector<double>(rows_));
  for (std::size_t k = 0; k < rows_; ++k) {
    const std::vector<double> of = column(basic_[k]);
    for (std::size_t i = 0; i < rows_; ++i) (transposed ? matrix[k][i] : matrix[i][k]) = of[i];
  }
  return matrix;
}

std::optional<Mixture::Prices> Mixture::solve() {
  const int variables = static_cast<int>(rows_ - 1 + columns_.size());
  for (int exchange = 0; exchange < kMostExchanges; ++exchange) {
    const std::vector<double> weights = solved(basis(false), right_);
    const auto artificial = std::find(basic_.begin(), basic_.end(), kArtificial);
    if (!feasible_ && (artificial == basic_.end() || weights[artificial - basic_.begin()] < kZero)) feasible_ = true;
    std::vector<double> costs;
    for (const int variable : basic_) costs.push_back(cost(variable));
    const std::vector<double> duals = solved(basis(true), costs);
    int entering = kArtificial;
    double least = -kZero;
    for (int v = 0; v < variables; ++v) {
      if (std::find(basic_.begin(), basic_.end(), v) != basic_.end()) continue;
      const std::vector<double> of = column(v);
      const double reduced = cost(v) - std::inner_product(of.begin(), of.end(), duals.begin(), 0.0);
      if (reduced < least) {
        least = reduced;
        entering = v;
      }
    }
    if (entering == kArtificial) {
      Prices prices{feasible_, {}, duals.back()};
      for (std::size_t r = 0; r + 1 < rows_; ++r) prices.price.push_back(std::max(0.0, -duals[r]));
      return prices;
    }
    const std::vector<double> direction = solved(basis(false), column(entering));
    std::size_t leaving = rows_;
    double step = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < rows_; ++k) {
      if (direction[k] <= kZero || weights[k] / direction[k] >= step) continue;
      step = weights[k] / direction[k];
      leaving = k;
    }
    if (leaving == rows_ || !std::isfinite(step)) return std::nullopt;
    basic_[leaving] = entering;
  }
  return std::nullopt;
}

}  // namespace motley::parametric

#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "motley/partitioner/deadline.h"
#include "motley/partitioner/price.h"

namespace motley {

/// Bounds and simulated times add the same numbers in another order; below this they are the same.
inline constexpr double kRounding = 1e-13;

/// What a subtree came to under an allowance.
struct Explored {
  Candidates found;
  double open_bound = std::numeric_limits<double>::infinity();  ///< of what it left open; infinite: nothing
  std::int64_t expansions = 0;
  std::int64_t spent = 0;  ///< of the allowance: simulated plans count more than nodes
};

/// A part of the plan space that one thread searches at a time.
class Subtree {
 public:
  virtual ~Subtree() = default;
  /// No plan in it is worth less.
  [[nodiscard]] virtual double bound() const = 0;
  /// Searches it from scratch for plans that are worth less than `best`, within `allowance`. What it finds depends on
  /// nothing else.
  [[nodiscard]] virtual Explored explore(double best, std::int64_t allowance, const Deadline& deadline) const = 0;
};

/// Keeps account of one exploration.
class Exploration {
 public:
  Exploration(const Profile& profile, const SearchOptions& options, double best, std::int64_t allowance,
              const Deadline& deadline)
      : best_(best), allowance_(allowance), deadline_(deadline), result_{Candidates(profile, options)} {}

  [[nodiscard]] bool is_pruned(double bound) const { return bound >= best_ * (1.0 - kRounding); }
  /// Counts a node. Returns false, and notes its bound, where the allowance is used up.
  bool enter(double bound) {
    if (is_exhausted() || (result_.expansions % 64 == 63 && deadline_.has_passed())) {
      allowance_ = 0;
      leave_open(bound);
      return false;
    }
    ++result_.expansions;
    ++result_.spent;
    return true;
  }
  [[nodiscard]] bool is_exhausted() const { return result_.spent >= allowance_; }
  void leave_open(double bound) { result_.open_bound = std::min(result_.open_bound, bound); }
  void offer(Plan plan) {
    result_.spent += kExpansionsPerSimulation;
    result_.found.offer(std::move(plan));
    best_ = std::min(best_, result_.found.best());
  }
  [[nodiscard]] Explored take() { return std::move(result_); }

  static constexpr std::int64_t kExpansionsPerSimulation = 64;

 private:
  double best_;
  std::int64_t allowance_;
  const Deadline& deadline_;
  Explored result_;
};

}  // namespace motley

#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// The stage and its device that lacks the most memory.
struct Shortfall {
  int stage = 0;
  int device = 0;
  Bytes missing;
};

struct Priced {
  Prediction prediction;
  std::optional<Shortfall> shortfall;  ///< none: every peak is within its device's memory
};

/// The cost of `plan`: simulate(schedule_of(plan), costs_of(plan)), and nothing else. O(actions log ranks). Long plans
/// are replayed instead where that gives the same to the last bit (replay.h).
[[nodiscard]] Priced price(const Plan& plan, const Profile& profile, bool clip);
[[nodiscard]] Priced price_by_simulation(const Plan& plan, const Profile& profile, bool clip);

/// Adds what a run of the priced plan is expected to take: its cost where no device gains after pauses, else simulated.
/// Not part of a price, which a search asks for often.
void add_expected(Prediction& prediction, const Plan& plan, const Profile& profile, bool clip);

/// At the hourly prices of the devices that `plan` uses.
[[nodiscard]] double usd_per_sample(const Plan& plan, const ClusterProfile& cluster, Seconds iteration);

/// What `objective` says a priced plan is worth: seconds or USD per sample, the less the better.
[[nodiscard]] double value_of(const Prediction& prediction, Objective objective);

/// A certificate for a plan of that value over a space where nothing is below `lower_bound` (in the same unit).
[[nodiscard]] Certificate certify(const Prediction& prediction, Objective objective, double lower_bound,
                                  std::string space);

/// Collects priced plans: the best feasible ones by the options' objective (ties: first come), and the nearest miss.
class Candidates {
 public:
  Candidates(const Profile& profile, const SearchOptions& options);

  /// Prices `plan` and keeps it. Returns whether it is the best so far.
  bool offer(Plan plan);

  /// Takes over what `other` kept, as if it had been offered here.
  void merge(Candidates other);

  /// Puts a priced plan that is no worse in the best one's place.
  void replace_best(Plan plan);

  /// Value of the best; infinite while there is none.
  [[nodiscard]] double best() const;
  [[nodiscard]] const Plan* best_plan() const { return plans_.empty() ? nullptr : &plans_.front(); }
  [[nodiscard]] std::int64_t simulated() const { return simulated_; }

  /// The best plan, stamped with `planner`, fingerprints and the emulated flag, or the nearest miss. At least one
  /// plan must have been offered.
  [[nodiscard]] SearchResult result(const std::string& planner, const SearchStatistics& statistics,
                                    std::optional<Certificate> certificate) const;

 private:
  void keep(Plan plan);

  const Profile& profile_;
  Objective objective_;
  bool clip_;
  std::size_t kept_;
  std::int64_t simulated_ = 0;
  std::vector<Plan> plans_;
  std::optional<Plan> nearest_miss_;
  Shortfall miss_;
};

/// "stage of layers [0, 3) on rank2 lacks 12.3 MB of 64.0 MB".
[[nodiscard]] Infeasible infeasible(const Plan& plan, const Shortfall& shortfall, const Profile& profile);

}  // namespace motley

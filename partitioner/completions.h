#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "motley/partitioner/corner.h"

namespace motley {

/// What the stages that a node of the search still lacks cost at least: layers [0, first) on devices that it does not
/// use yet, ahead of a stage whose first device is of class c. One dynamic programme over (code of devices used, c,
/// first) from the largest codes down, where a transition adds a stage by a team of devices.
///
/// A team of several shares the samples, whatever their shares: its slowest device needs at least B / sum(1 / e) for a
/// micro-batch of B samples, e the least seconds a sample of each at any share, and every path through it at least its
/// fastest device with the smallest share. Where replicas are allowed messages may be as small as that as well.
///
/// O(N C L^2 T) time for N codes and T teams, O(N C L) memory; where that is beyond kMostWork, nothing is known and all
/// bounds are 0.
class Completions {
 public:
  static constexpr double kMostWork = 3e8;

  explicit Completions(const Corner& corner);

  /// Least round trip of a micro-batch through the stages and edges that are missing; infinite where nothing fits.
  [[nodiscard]] double round_trip(std::size_t code, int c, int first) const { return of(round_trip_, code, c, first); }
  /// Least of the largest, over the missing stages, of the round trip before the stage and all its work, or its
  /// messages: counted from the start of the iteration.
  [[nodiscard]] double bottleneck(std::size_t code, int c, int first) const { return of(bottleneck_, code, c, first); }
  /// Least of the largest busy time, over the missing stages and edges.
  [[nodiscard]] double busiest(std::size_t code, int c, int first) const { return of(busiest_, code, c, first); }

 private:
  struct Work {
    double trip = 0.0;        // F and B (I) of a micro-batch on the fastest path
    double pass = 0.0;        // the same on the slowest device
    double everything = 0.0;  // W as well
  };

  [[nodiscard]] std::size_t index(std::size_t code, int c, int first) const {
    return (code * static_cast<std::size_t>(corner_.classes()) + static_cast<std::size_t>(c)) *
               (static_cast<std::size_t>(corner_.tables().layers()) + 1) +
           static_cast<std::size_t>(first);
  }
  [[nodiscard]] double of(const std::vector<double>& table, std::size_t code, int c, int first) const {
    return table.empty() ? 0.0 : table[index(code, c, first)];
  }
  void build();
  void complete(std::size_t code, const std::vector<int>& used, int c, int end);
  /// Whether every device of the team can hold the stage with some share; with no `behind`, or a longer one.
  [[nodiscard]] bool fits(const Team& team, int first, int end, std::optional<int> behind) const;
  [[nodiscard]] Work work(const Team& team, int first, int end) const;
  [[nodiscard]] double per_sample(int c, int first, int end, bool everything) const;
  /// The quickest message from the team to class c, by pass.
  [[nodiscard]] double message(Pass pass, const Team& team, int c, int cut) const;

  const Corner& corner_;
  std::vector<double> round_trip_, bottleneck_, busiest_;
};

}  // namespace motley

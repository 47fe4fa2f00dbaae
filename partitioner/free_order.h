#pragma once

#include <cstdint>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// A cut with devices and micro-batches, and what no schedule of it can beat.
struct FreeOrder {
  double lower_bound_s = 0.0;
  std::int64_t micro_batch_size = 0;
  std::vector<int> cuts;  ///< one entry more than devices
  std::vector<int> devices;
};

struct FreeOrders {
  std::vector<FreeOrder> best;  ///< by ascending bound, those below `ceiling_s`, at most as many as asked for
  double lower_bound_s = 0.0;   ///< of every pipeline of two stages or more, `ceiling_s` where none is below it
  std::int64_t expansions = 0;
  bool complete = true;  ///< ended by itself, not by the budget, a time limit or a stop
};

/// Every pipeline of two or more contiguous stages with one device each that some schedule might run in less than
/// `ceiling_s`, whatever the order of its passes. Branch and bound over cuts, devices and micro-batch sizes, first
/// stage first. For a stage s, with F, I, W, B its passes, f, b the messages between it and the stage before, m
/// micro-batches,
///
// clang-format off
///   up    = sum of F + f of the stages before       its first forward cannot start earlier
///   down  = sum of min(I, B) + b of the stages before, min(B, I + W) for the first:
///           what follows the last gradient that it computes
///   iteration >= up + m (F + min(I, B)) + down      all it does before that gradient
///   iteration >= up + m (F + min(B, I + W))         all its work
///   iteration >= up + F + min(I, B) + (m - 1) max(f, b) + down
///                                                   its channels carry one message at a time
// clang-format on
///
/// and for layers not yet placed, with devices d left: sum over layers of min_d l_d t_d for t the time of all
/// micro-batches and any l >= 0 that add up to 1 (linear programming duality: the left side is the best fractional
/// assignment); l_d is taken as the speed of d on the whole model. To each: norm exchange and the longest update where
/// the run clips, else the stage's update. What is left out only delays. Memory is not looked at.
///
/// The bounds are those of StageTables with the engine's time per action. Memory O(asked for + masks of devices * L).
[[nodiscard]] FreeOrders find_free_orders(const Profile& profile, const SearchOptions& options, double ceiling_s,
                                          std::size_t asked_for);

}  // namespace motley

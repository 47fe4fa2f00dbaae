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
///   trip  = sum of F + f + min(I, B) + b of the stages behind: no gradient reaches it sooner after its first forward
///   all   = max(m F, F + trip)                      from its first forward to its last, or until it has a gradient
///   iteration >= up + all + m min(I, B) + down      all it does before its last gradient
///   iteration >= up + all + m min(B, I + W)         all its work
///   iteration >= up + F + trip + min(I, B) + (m - 1) max(f, b) + down
///                                                   its channels carry one message at a time
// clang-format on
///
/// where F has what it takes the device to receive and to send activations, I and B likewise of gradients (Codec). To
/// each: norm exchange and the longest update where the run clips, else the stage's update. What is left out only
/// delays. Memory is not looked at.
///
/// Stages still to come cost at least what FreeRests says, counted from the stage before: for lines with `down` and
/// without apart. Where that knows nothing: sum over layers of min_d l_d t_d with devices d left, for t the time of all
/// micro-batches and any l >= 0 that add up to 1 (linear programming duality: the left side is the best fractional
/// assignment); l_d is the speed of d on the whole model.
///
/// Of pipelines with the same cuts, micro-batches and types of devices stage by stage only one with the least bound is
/// listed. Those that the list has no place for are not searched.
///
/// The bounds are those of StageTables with the engine's time per action. `asked_for` at least 1.
[[nodiscard]] FreeOrders find_free_orders(const Profile& profile, const SearchOptions& options, double ceiling_s,
                                          std::size_t asked_for);

}  // namespace motley

#pragma once

#include "motley/partitioner/search.h"

namespace motley {

/// Branch and bound over the plan space of space.h; a plan's cost is the simulator's, by the options' objective.
///
/// Where stages have devices of their own a node fixes the last k stages: layers [i, L), with the crew, the depth of
/// warm-up, recomputation and wire of each. A child adds the stage before. Write F, B for a seat's forward and backward
/// of a micro-batch (B is I under zero-bubble), r for its recomputation, f, b for the messages between it and a seat of
/// the next stage that has samples in common, m for micro-batches, w = min(m, depth) (m for GPipe), and take times from
/// the start of the seat's first forward:
///
// clang-format off
///   G = max(w F + r, max(F + f + G' + B' + b))  start of the first backward; the prime is a seat of the next stage, the
///                                               inner max over all that have samples in common
///       (GPipe: m F + R' for w F + r; zero-bubble: as many F as can come before the first gradient does)
///   R = F + R' + B, R' = max(f + R_next + b)    round trip of one micro-batch through the stage and all after it
///   T = max(G + (m - w) F + m B + (m - 1) r,    all its work, and the wait for the first gradient
///           (q + 1) R + (m - 1 - q w) (B + r), q = floor((m - 1) / w): forward k + w waits for backward k
///           F + R' + (m - 1) max(f, b) + B)     the channels carry one message at a time
///   H = max(T, max(F + f + H' + b + B))         until its last backward
///   A = max(H, m (F + B + W + r)) + sum of gradients, or F + f + A' where that is later
// clang-format on
///
/// Stages before the node add at least the round trip P of the layers [0, i) and have bottlenecks of their own
/// (completions.h). So
///
///   iteration >= max(H + P, A, bottleneck) + (clip: norm exchange + longest update so far),
///
/// each line dropping only waits, and shared NICs only delay (nic_sharing.h), so it never exceeds the simulator's time.
/// For the objective Bottleneck the bound is the busiest device or channel; for Cost the time's times the price of the
/// devices used so far and of the cheapest one if layers are missing. A complete plan under 1F1B or GPipe is bounded by
/// the longest path (closed_form.h), which is the simulator's time where no NIC is shared, and simulated if that is
/// below the best so far; others are simulated at once. interleaved_search.h has the bounds for stages that share
/// devices. What is pruned is at least the best, up to 1e-13 relative, so the answer is exact and the certificate's
/// bound is its own value.
///
/// A stage that surely fits in memory without recomputation is not tried with it, unless NICs are shared (then slower
/// passes can be better: they keep messages apart) or the schedule is zero-bubble. When the search ends, wire formats
/// and recomputation that the best plan does not gain by are taken out of it again.
///
/// The space falls into subtrees by last stage, in order of their bounds. Rounds of up to kMostSubtreesOfRound are
/// searched, each by one thread from what was best before the round and within an allowance of expansions; what does
/// not end is searched again with twice as much. So the result depends on neither the number of threads nor their
/// speed, as long as no time limit or stop ends it. The budget is options.max_expansions nodes, a simulated plan
/// counting 64. Where it ends the search, or options.gap, a limit or stop does, the bound is the least of what was left
/// open, and the gap says what that leaves.
///
/// Exact in seconds for up to about 12 devices of different kinds, or any number of a few kinds, with one device a
/// stage; for about 6 devices and 20 layers with replicas, recomputation and wire formats together; for about 4 groups
/// of devices and 16 layers interleaved. Beyond that the budget ends it. Memory: subtrees O(L crews), a thread O(stages
/// (children + seats)), completions up to kMostWork / (L T) numbers each, crews up to kMostCrews.
[[nodiscard]] SearchResult plan_exact(const Profile& profile, const SearchOptions& options);

inline constexpr std::size_t kMostSubtreesOfRound = 64;
inline constexpr std::int64_t kFirstAllowance = 20'000;

}  // namespace motley

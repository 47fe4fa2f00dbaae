#pragma once

#include "motley/partitioner/search.h"

namespace motley {

/// Branch and bound over the plan space of space.h; the cost of a plan is the simulator's iteration time.
///
/// A node fixes the last k stages: layers [i, L), how many devices of each class of interchangeable devices they use,
/// the class of the first of them, and the depths of their warm-up. A child adds the stage before. Write F, B for a
/// stage's forward and backward of a micro-batch, f, b for the messages of the boundary behind it (forward to the next
/// stage, backward from it), m for micro-batches, w = min(m, depth) (m for GPipe), and take times from the start of the
/// stage's first forward:
///
// clang-format off
///   G = max(w F, F + f + G' + B' + b)     start of the first backward; the prime is the next stage
///       (GPipe: max(m F + R', ...))
///   R = F + B + R', R' = f + b + R_next   round trip of one micro-batch through the stage and all after it
///   T = max(G + (m - w) F + m B,          all its work, and the wait for the first gradient
///           (q + 1) (F + B + R') + (m - 1 - q w) B, q = floor((m - 1) / w): forward k + w waits for backward k
///           F + (m - 1) max(f, b) + R' + B)   the channels carry one message at a time
///   H = max(T, F + B + f + b + H')
// clang-format on
///
/// Stages before the node add at least the round trip P of the layers [0, i) and have bottlenecks of their own. Two
/// tables over (class counts used, class, i) give the least P and the least max over the missing stages of (round trip
/// before it + m (F + B), + (m - 1) max(f, b) + its message) over all completions that fit in memory, where memory is
/// bounded below by weights, gradients, state and saved bytes of min(m, depth) micro-batches. So
///
///   iteration >= max(H + P, bottleneck) + (clip: norm exchange + longest update so far),
///
/// each line dropping only waits, so it never exceeds the simulator's time. A complete plan is bounded by the longest
/// path (closed_form.h), which drops only the engine's own time per action, and simulated if that is below the best so
/// far. What is pruned is at least the best, up to 1e-13 relative, so the answer is exact and the certificate's bound
/// is its own cost. Roots go in order of their bound, children likewise. One-stage plans (whose times are those of a
/// device alone) are all simulated first.
///
/// The search ends after options.max_expansions nodes (a simulated plan counts as kExpansionsPerSimulation); then the
/// bound is the least of the nodes left open, and the gap says what that leaves. Deterministic.
///
/// Tables: O(N C^2 L^2) time, O(N C L) memory each for N = prod(n_c + 1), n_c the devices of class c of C. Where that
/// is beyond kMostTableWork they are left out and the bound is weaker: exact for up to about 12 devices of different
/// kinds or any number of a few kinds, as long as the budget lasts. Memory is O(tables + stages * children).
[[nodiscard]] SearchResult plan_exact(const Profile& profile, const SearchOptions& options);

inline constexpr int kExpansionsPerSimulation = 64;
inline constexpr double kMostTableWork = 3e8;

}  // namespace motley

#pragma once

#include <string>

#include "motley/partitioner/search.h"

namespace motley {

/// Proves again, from the prices of `chains` and the profile alone, that no plan with micro-batches of `size` and two
/// stages or more has its last backward before `within`; "" or why it cannot. Shares no code with the solver.
///
/// A chain is a list of stages that cover the layers, each on a class of devices (host, type and memory) and with a
/// warm-up w: 1 for the last, for others 1 to 3 more than the next one's, all below m, the number of micro-batches.
/// With W, F, f, b as in check_bound.h, A the round trip of one micro-batch, A_s that from stage s on, V = W - F, and
/// for a stage s and one behind it, t: n = w_s - w_t + 1 and C all work and messages from s through t, plans that take
/// less are chains with
///
// clang-format off
///   m W, m f, m b                                 <= X    X = within, less what an update of the stage takes longer than
///                                                         `update`, infinite where updates need not wait for all backwards
///   R + (m - 1) W - (w - 1) F                     <= X    first round trip, then backwards, but for forwards done by then
///   R + q C + (m - 1 - q n) V_s                   <= X    t next to s and q = floor((m - 1 - w_s) / n) + 1: first round
///                                                         trip; q times from backward k of s by its forward k + w_s and
///                                                         t's to backward k + n of t and of s; the backwards left
///   C / n <= V_s + (X - P - (m - 1) V_s) / (m - w_s)      the same for every t behind s, and s itself
///   C / n <= max(W_s, (X - Q - (w_s - 1) W_s) / (m - 2 w_s))   if m > 2 w_s: q - 1 times that way, fewer than n times
///                                                         s alone, and the last forward to the last stage and back
// clang-format on
///
/// and as many micro-batches in flight as memory holds, where R bounds A, P bounds A and Q the sum A + A_s of all
/// chains with stage s: with lambda the prices that proved R, or 0, and u(j, k) the least of j times the seconds before
/// s and k times those from s on plus 1 or, where j and k differ, 1.5 lambda of all stages, less the same of all
/// devices, P = max(R, u(1, 1)) and Q = max(P + least A_s, u(1, 2)). A class is in no plan more often than it has
/// devices. So the least A + sum(prices) of all chains, less the prices of all devices, bounds A: the next R. Where the
/// least sum(prices) is above the prices of all devices there is no plan. Parts: the plans in which a stage of a class
/// starts with a layer, and those in which none does. O(layers * (classes * lengths of a stage)^2 * warm-ups) for all
/// prices, times the round trips of a warm-up of which none is no better than another.
[[nodiscard]] std::string check_chains(const BoundProof::Chains& chains, const Profile& profile,
                                       const SearchOptions& options, std::int64_t size, double within, double update);

}  // namespace motley

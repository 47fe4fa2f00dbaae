#pragma once

#include <string>

#include "motley/partitioner/search.h"

namespace motley {

/// Proves again, from the prices of `chains` and the profile alone, that no plan with micro-batches of `size` and two
/// stages or more has its last backward before `within`; "" or why it cannot. Shares no code with the solver.
///
/// A chain is a list of stages that cover the layers, each on a class of devices (host, type and memory) and with a
/// warm-up w: 1 for the last, for others 1 to 3 more than the next one's, all below m, the number of micro-batches.
/// With W, F, f, b as in check_bound.h, A the round trip of one micro-batch, R a bound of it, V = W - F, and for a
/// stage s and the next one t: n = w_s - w_t + 1, C = W_s + W_t + f + b, q = floor((m - 1 - w_s) / n) + 1, plans that
/// take less are chains with
///
// clang-format off
///   m W, m f, m b                      <= within
///   R + (m - 1) W - (w - 1) F          <= within    first round trip, then backwards, but for the forwards done by then
///   R + q C + (m - 1 - q n) V_s        <= within    first round trip; q times from backward k of s by its forward
///                                                   k + w_s and t's to backward k + n of t and of s; the backwards left
// clang-format on
///
/// and as many micro-batches in flight as memory holds. A class is in no plan more often than it has devices. So the
/// least A + sum(prices) of all chains, less the prices of all devices, bounds A: the next R. Where the least
/// sum(prices) is above the prices of all devices there is no plan. Parts: the plans in which a stage of a class starts
/// with a layer, and those in which none does. O(layers * (classes * lengths of a stage)^2 * warm-ups) for all prices.
[[nodiscard]] std::string check_chains(const BoundProof::Chains& chains, const Profile& profile,
                                       const SearchOptions& options, std::int64_t size, double within);

}  // namespace motley

#pragma once

#include <string>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// Proves `certificate.proven_bound` again from its prices and the profile alone, or says why it cannot: every reason,
/// each naming the field. Shares no code with the solver that found the prices. O(devices^2 + layers * (longest stage)
/// * classes of devices) for every table.
///
/// What the prices prove. Take any plan of the space with two stages or more that takes less than T, the bound, with m
/// micro-batches of some size. For a stage write W and F for its work (forward and backward) and its forward of one
/// micro-batch, w <= m for its warm-up. Let U be the least that follows the last backward, S(s) the seconds that one
/// micro-batch needs behind stage s and back, both messages of every boundary included, and A the same for the whole
/// pipeline. Whatever the waits,
///
// clang-format off
///   m W             <= T - U                                 (1) the stage's own work;
///   m f             <= T - U                                 (2) a channel's messages, one after the other;
///   A + (m - 1) W - (w - 1) F   <= T - U                     (3) fill, first round trip, then all m backwards and the
///                                                                m - w forwards that were not done before, drain;
///   A + (m - w) W + S(s)        <= T - U                     (4) fill, first round trip, m - w backwards and forwards
///                                                                in turn, round trip of the last micro-batch, drain.
/// Memory: weights, gradients, state, the messages posted ahead and w times what a micro-batch saves must fit  (5).
/// Warm-ups of 1F1B fall by one at least from stage to stage, so no two stages have the same                   (6).
// clang-format on
///
/// By (2) the cluster falls into parts between which no link is used; a plan lies in one. A table prices one part: a
/// layer is worth theta = layer_price times its layer_values, a warm-up of w costs depths[w - 1] >= 0 (0 where all
/// micro-batches are in flight, or beyond the devices there are). No choice of stages for the part's devices that
/// respects (1), (3), (5) and (6) is worth more than
///
///   D = sum over devices of max(0, best over their stages of value - cost) + sum of depths,
///
/// while every plan is worth theta times all layers, G. A round of kind round_trip counts a stage as theta * layers - W
/// - (its link), so A >= theta G - D - (the last stage's link): then the A of the next round. Each host's stages have
/// their cheapest links but one, which leaves the host. In the last round D < theta G for every part: there is no such
/// plan. There a table may be for plans only whose longest stage takes more than `above_s` and at most `up_to_s`;
/// tables of a part must cover all. In such a plan (4) of a longest stage with w <= J, the most that memory allows it,
/// leaves the stages of less warm-up than J at most T - U - A - (m - J) above_s seconds, each counted up to above_s; a
/// second of them costs second_price.
///
/// Where there are prices of whole chains of stages, these are to refute a size instead: check_chains.h.
///
/// One-stage plans are all looked at.
[[nodiscard]] std::vector<std::string> check_bound(const Certificate& certificate, const Profile& profile,
                                                   const SearchOptions& options);

}  // namespace motley

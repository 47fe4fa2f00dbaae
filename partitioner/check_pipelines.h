#pragma once

#include <optional>

#include "motley/partitioner/search.h"

namespace motley {

/// No plan of the space has a shorter iteration: shown from the profile alone, by a dynamic programme over the devices
/// that stages use. Shares no code with the solver. Nothing where devices may be replicas or have several stages, for
/// other objectives, and where it would take more than kMostCheckedSteps.
///
/// Of the stages of any plan with two or more of them, write F and G for a micro-batch's forward and for the gradient
/// that goes back, and W for all its work, each with what its messages cost the device; f and b for the messages
/// between a stage and the one before, m for micro-batches. G = W - F where backwards are whole, min(I, B) where input
/// gradients may come first: under zero-bubble and with `any_passes`. Seen from the end of the first forward of a stage
/// s, whatever the order of passes and the waits, the stages t = s + 1, ... behind it cost
///
// clang-format off
///   trip(s)     = f + F + trip(t) + G + b                until s has its first gradient
///   gradient(s) = f + b + max(A + m G, F + G + gradient(t), F + trip(t) + G + (m - 1) max(f, b))
///                                                        until s has its last gradient
///   end(s)      = f + max(A + m W - m F, F + end(t))     until the last pass of all of them
///   A           = max(m F, F + trip(t))                  forwards, or the first gradient if that is later
// clang-format on
///
/// and the first stage alike, with f = b = 0 and what follows its last gradient, W - F - G. The least of these by
/// devices used, s's device and t's first layer, from the plans that use the most devices down; of each as many triples
/// that no other is better than as kKept, and where there are more, two become one with the lesser of each number.
/// Devices that are alike in type, or in type and host, are counted together where each for itself would take too many
/// steps, with the fastest of their links. To it: norm exchange and the least update that can be the longest.
///
/// O(sizes * codes * groups^2 * layers^2 * kKept) time for codes, the numbers of devices used of each group.
[[nodiscard]] std::optional<Seconds> least_pipeline(const Profile& profile, const SearchOptions& options,
                                                    bool any_passes);

inline constexpr double kMostCheckedSteps = 3e8;

}  // namespace motley

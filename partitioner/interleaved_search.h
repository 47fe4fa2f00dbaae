#pragma once

#include <memory>
#include <vector>

#include "motley/partitioner/corner.h"
#include "motley/partitioner/subtree.h"

namespace motley {

/// Adds the subtrees of a corner under interleaved-1f1b: one for each last group of devices. First the groups are
/// chosen, from the last to the first, then the stages, likewise. A node, with the groups known and the stages from k
/// on, is bounded by what any order of actions needs:
///
///   a device     all work of its known stages, sums and updates;
///   the mean     the work of all devices, with every missing layer where it takes least, spread over all of them;
///   a trip       of one micro-batch through the known stages and back, and through the missing layers at their best.
///
/// Plans are simulated, none is ruled out before. Exact for a handful of groups and a few dozen layers.
void add_interleaved_subtrees(const Corner& corner, std::vector<std::unique_ptr<Subtree>>& out);

}  // namespace motley

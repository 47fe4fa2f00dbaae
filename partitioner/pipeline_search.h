#pragma once

#include <memory>
#include <vector>

#include "motley/partitioner/completions.h"
#include "motley/partitioner/corner.h"
#include "motley/partitioner/subtree.h"

namespace motley {

/// Adds the subtrees of a corner where every stage has devices of its own: one for each last stage. Depth first from
/// there to the first stage, children in order of their bounds (stage_bound.h). The corner and its completions must
/// outlive them.
void add_pipeline_subtrees(const Corner& corner, const Completions& completions,
                           std::vector<std::unique_ptr<Subtree>>& out);

/// The plan whose largest lack of memory is least by a lower bound of memory, among those with one device a stage and
/// the textbook's depths; none if the tables would be too large or no such plan has the right devices.
[[nodiscard]] std::optional<Plan> least_lack(const Corner& corner);

}  // namespace motley

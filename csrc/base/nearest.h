#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace motley {

/// What the user may have meant: the first of `known` with the fewest edits from `text` (Levenshtein's distance), or ""
/// where that is more than half of its length, at least two. O(|text| * all of known).
[[nodiscard]] std::string nearest(std::string_view text, const std::vector<std::string>& known);

}  // namespace motley

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace motley {

/// What the user may have meant: the first of `known` with the fewest edits from `text` (letters put in, left out,
/// replaced, two neighbours swapped: optimal string alignment), or "" where those are more than a third of its length,
/// one at least. O(|text| * all of known).
[[nodiscard]] std::string nearest(std::string_view text, const std::vector<std::string>& known);

/// What an error about `text` says was expected: "one of a, b, c", then "; did you mean "b"?" where one is near.
[[nodiscard]] std::string one_of(std::string_view text, const std::vector<std::string>& known);

}  // namespace motley

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace motley {

/// XXH3-128 as 32 hex digits: finds damage, not malice.
[[nodiscard]] std::string checksum(std::span<const std::byte> bytes);
[[nodiscard]] std::string checksum(std::string_view text);

}  // namespace motley

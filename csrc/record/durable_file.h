#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace motley {

/// XXH3-128 as 32 hex digits: finds damage, not malice.
[[nodiscard]] std::string checksum(std::span<const std::byte> bytes);
[[nodiscard]] std::string checksum(std::string_view text);

/// Writes `bytes` beside `file`, waits until they are on the disk (fsync), renames onto `file` and waits for the
/// folder's entry too. Whatever happens, `file` is what it was before or whole. Throws Fault naming file and cause.
void write_durably(const std::filesystem::path& file, std::span<const std::byte> bytes);
void write_durably(const std::filesystem::path& file, std::string_view text);

}  // namespace motley

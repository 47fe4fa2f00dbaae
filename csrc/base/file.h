#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace motley {

/// The whole of `file`. Throws InputError "FILE: cannot be read (CAUSE), expected EXPECTED".
[[nodiscard]] std::string read_text(const std::filesystem::path& file, std::string_view expected);

/// Writes `bytes` beside `file`, waits until they are on the disk (fsync), renames onto `file` and waits for the
/// folder's entry too; makes the folder where there is none. Whatever happens, `file` is what it was before or whole.
/// Throws Fault naming file and cause.
void write_durably(const std::filesystem::path& file, std::span<const std::byte> bytes);
void write_durably(const std::filesystem::path& file, std::string_view text);

}  // namespace motley

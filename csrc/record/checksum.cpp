#include "motley/record/checksum.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace motley {

std::string checksum(std::span<const std::byte> bytes) {
  const XXH128_hash_t value = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", value.high64, value.low64);
}

std::string checksum(std::string_view text) {
  return checksum(std::as_bytes(std::span(text)));
}

}  // namespace motley

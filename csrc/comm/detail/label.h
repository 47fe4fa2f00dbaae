#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace motley {

/// A short text of fixed size that can cross the wire and be set without allocation. Keeps the first 39 characters.
struct Label {
  static constexpr std::size_t kCapacity = 39;

  std::uint8_t length = 0;
  std::array<char, kCapacity> characters{};

  Label() = default;
  explicit Label(std::string_view text) {
    length = static_cast<std::uint8_t>(std::min(text.size(), kCapacity));
    std::memcpy(characters.data(), text.data(), length);
  }

  [[nodiscard]] std::string_view view() const { return {characters.data(), std::min<std::size_t>(length, kCapacity)}; }
  [[nodiscard]] std::string text() const { return std::string(view()); }
};
static_assert(sizeof(Label) == 40);

}  // namespace motley

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "motley/base/error.h"

// A fuzz target is one file with LLVMFuzzerTestOneInput, which gives one parser of Motley's any bytes. InputError is
// the only thing that a parser may throw at them; all else ends the program, and so does a CHECK that does not hold.
// With clang (preset fuzz, scripts/fuzz) libFuzzer drives a target; in the usual build replay.cpp hands it its corpus.

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace motley::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs `body`; false when it found the input wrong.
template <typename Body>
bool accepts(Body&& body) {
  try {
    body();
    return true;
  } catch (const InputError& error) {
    MOTLEY_CHECK(error.what()[0] != '\0', "an error without a word");
    return false;
  }
}

/// What lies before the next line "=====", which separates the files of one input; `rest` begins after it.
inline std::string_view take_part(std::string_view& rest) {
  constexpr std::string_view kSeparator = "\n=====\n";
  const std::size_t at = rest.find(kSeparator);
  const std::string_view part = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + kSeparator.size());
  return part;
}

/// A folder in memory, where there is one, for parsers that open files themselves. The same for the whole process.
const std::filesystem::path& folder();
/// Writes a file there and returns its path.
std::filesystem::path put(const std::string& name, std::string_view content);

}  // namespace motley::fuzz

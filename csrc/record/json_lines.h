#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace motley {

/// A growing record, one JSON object a line, flushed line by line so that a killed run keeps what it wrote. Throws
/// Fault when the file cannot be written.
class JsonLines {
 public:
  /// A new file, or with `append` more lines of one.
  explicit JsonLines(const std::filesystem::path& file, bool append = false);
  void append(const nlohmann::json& line);

 private:
  std::string source_;
  std::ofstream out_;
};

/// Throws InputError naming file and line.
[[nodiscard]] std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file);

}  // namespace motley

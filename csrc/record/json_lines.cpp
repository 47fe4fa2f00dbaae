#include "motley/record/json_lines.h"

#include <nlohmann/json.hpp>

#include "motley/base/error.h"

namespace motley {

JsonLines::JsonLines(const std::filesystem::path& file, bool append) : source_(file.string()) {
  if (file.has_parent_path()) {
    std::filesystem::create_directories(file.parent_path());
  }
  out_.open(file, append ? std::ios::app : std::ios::trunc);
  if (!out_) {
    throw Fault::of("{}: cannot be written", source_);
  }
}

void JsonLines::append(const nlohmann::json& line) {
  out_ << line.dump() << '\n';
  out_.flush();
  if (!out_) {
    throw Fault::of("{}: cannot be written", source_);
  }
}

std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    throw InputError::of("{}: cannot be read, expected a file of JSON lines", file.string());
  }
  std::vector<nlohmann::json> result;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty()) {
      continue;
    }
    nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
    if (value.is_discarded()) {
      throw InputError::of("{}: line {} is not valid JSON", file.string(), number);
    }
    result.push_back(std::move(value));
  }
  return result;
}

}  // namespace motley

#include "motley/plan/json_field.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "motley/base/nearest.h"
#include "motley/plan/limits.h"

namespace motley {
namespace {

/// Where a parser stopped, for a person to find: the last bytes of `text`, in quotes, as one printable line.
std::string quoted_end(std::string_view text) {
  constexpr std::size_t kMost = 24;
  std::string end(text.substr(text.size() - std::min(text.size(), kMost)));
  std::replace_if(
      end.begin(), end.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, ' ');
  return fmt::format("\"{}{}\"", text.size() > kMost ? "..." : "", end);
}

}  // namespace

JsonField::JsonField(const nlohmann::json& value, std::string source, std::string path)
    : value_(value), source_(std::move(source)), path_(std::move(path)) {}

std::string JsonField::name() const {
  return path_.empty() ? source_ : source_ + ": " + path_;
}

void JsonField::fail(const std::string& expected) const {
  std::string found = value_.is_structured() ? std::string(value_.type_name()) : value_.dump();
  if (found.size() > 60) {
    found = found.substr(0, 57) + "...";
  }
  throw InputError::of("{}: found {}, expected {}", name(), found, expected);
}

JsonField JsonField::at(std::string_view key) const {
  if (!value_.is_object()) {
    fail("an object");
  }
  const auto found = value_.find(key);
  if (found == value_.end()) {
    throw InputError::of("{}: field \"{}\" is missing", name(), key);
  }
  return {*found, source_, path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key)};
}

bool JsonField::has(std::string_view key) const {
  return value_.is_object() && value_.contains(key);
}

std::vector<JsonField> JsonField::items() const {
  if (!value_.is_array()) {
    fail("an array");
  }
  std::vector<JsonField> result;
  result.reserve(value_.size());
  for (std::size_t i = 0; i < value_.size(); ++i) {
    result.emplace_back(value_[i], source_, fmt::format("{}[{}]", path_, i));
  }
  return result;
}

std::vector<std::string> JsonField::keys() const {
  if (!value_.is_object()) {
    fail("an object");
  }
  std::vector<std::string> result;
  for (const auto& [key, ignored] : value_.items()) {
    result.push_back(key);
  }
  return result;
}

void JsonField::allow_only(std::initializer_list<std::string_view> allowed) const {
  for (const std::string& key : keys()) {
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) {
      throw InputError::of("{}: unknown field \"{}\", expected {}", name(), key,
                           one_of(key, {allowed.begin(), allowed.end()}));
    }
  }
}

std::string JsonField::text() const {
  if (!value_.is_string()) {
    fail("a string");
  }
  return value_.get<std::string>();
}

std::int64_t JsonField::integer() const {
  const bool fits =
      value_.is_number_integer() && (!value_.is_number_unsigned() || value_.get<std::uint64_t>() <= INT64_MAX);
  if (!fits) {
    fail("an integer");
  }
  return value_.get<std::int64_t>();
}

double JsonField::number() const {
  if (!value_.is_number() || !std::isfinite(value_.get<double>())) {
    fail("a finite number");
  }
  return value_.get<double>();
}

bool JsonField::boolean() const {
  if (!value_.is_boolean()) {
    fail("true or false");
  }
  return value_.get<bool>();
}

Seconds JsonField::seconds() const {
  if (!value_.is_number() || number() < 0.0) {
    fail("seconds, finite and not negative");
  }
  if (number() > kMostSeconds) {
    fail(fmt::format("at most {:g} s", kMostSeconds));
  }
  return {number()};
}

Bytes JsonField::bytes() const {
  if (!value_.is_number_integer() || integer() < 0) {
    fail("bytes, an integer that is not negative");
  }
  return {integer()};
}

nlohmann::json parse_json(const std::string& text, const std::string& source) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    if (error.byte > text.size()) {
      throw InputError::of("{}: not valid JSON: it ends after {} bytes in the middle (cut off?)", source, text.size());
    }
    const auto at = static_cast<std::ptrdiff_t>(error.byte) - 1;
    const auto line = std::count(text.begin(), text.begin() + at, '\n') + 1;
    throw InputError::of("{}: line {}: not valid JSON at byte {} of {}, after {}", source, line, error.byte,
                         text.size(), quoted_end(std::string_view(text).substr(0, error.byte)));
  } catch (const nlohmann::json::out_of_range&) {
    throw InputError::of("{}: not valid JSON: a number is too large for any type", source);
  }
}

}  // namespace motley

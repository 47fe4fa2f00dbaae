#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "motley/base/error.h"
#include "motley/base/units.h"

namespace motley {

/// One place in a JSON file, which knows where it is, so that an error can say so. Getters throw InputError naming file
/// and field, what was found and what was expected. Holds a reference to the JSON.
class JsonField {
 public:
  JsonField(const nlohmann::json& value, std::string source, std::string path = "");

  [[nodiscard]] JsonField at(std::string_view key) const;  ///< must exist
  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] std::vector<JsonField> items() const;   ///< of an array
  [[nodiscard]] std::vector<std::string> keys() const;  ///< of an object
  /// Refuses keys other than these, so that a mistyped one is not silently ignored.
  void allow_only(std::initializer_list<std::string_view> keys) const;

  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::int64_t integer() const;
  [[nodiscard]] double number() const;  ///< finite
  [[nodiscard]] bool boolean() const;
  [[nodiscard]] Seconds seconds() const;  ///< from 0 to kMostSeconds
  [[nodiscard]] Bytes bytes() const;      ///< not negative

  [[noreturn]] void fail(const std::string& expected) const;
  [[nodiscard]] std::string name() const;  ///< "profile.json: model.layers[3].name"

 private:
  const nlohmann::json& value_;
  std::string source_;
  std::string path_;
};

/// Parses `text`; a syntax error becomes an InputError naming `source` and the byte.
[[nodiscard]] nlohmann::json parse_json(const std::string& text, const std::string& source);

}  // namespace motley

#include "motley/config/table_reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "motley/base/nearest.h"

namespace motley {
namespace {

std::string place_of(const toml::node& node, const std::string& source) {
  const toml::source_region& region = node.source();
  const std::string file = region.path ? *region.path : source;
  // A value from the command line is a text of one line.
  return file.starts_with("--set") ? file : fmt::format("{}:{}", file, region.begin.line);
}

/// As TOML, on one line. Numbers in the fewest digits that read back the same.
std::string as_toml(bool value) {
  return value ? "true" : "false";
}

std::string as_toml(std::int64_t value) {
  return fmt::format("{}", value);
}

std::string as_toml(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string as_toml(const std::string& value) {
  std::ostringstream text;
  text << toml::toml_formatter(toml::value<std::string>(value), toml::format_flags::none);
  return text.str();
}

template <typename Item>
std::string as_toml(const std::vector<Item>& values) {
  std::string text;
  for (const Item& value : values) {
    text += (text.empty() ? "" : ", ") + as_toml(value);
  }
  return "[" + text + "]";
}

}  // namespace

TableReader::TableReader(const toml::table& table, std::string source, std::string path, std::vector<ConfigKey>* keys)
    : table_(table), source_(std::move(source)), path_(std::move(path)), keys_(keys) {}

const toml::node* TableReader::find(const std::string& key) {
  asked_.insert(key);
  return table_.get(key);
}

template <typename Value>
void TableReader::note(const std::string& key, const Value& value, const std::string& meaning) {
  if (keys_ != nullptr) {
    const toml::node* node = table_.get(key);
    keys_->push_back({path_.empty() ? key : path_ + "." + key, as_toml(value),
                      node == nullptr ? "" : place_of(*node, source_), meaning});
  }
}

void TableReader::fail(const std::string& key, const std::string& expected) const {
  std::ostringstream found;
  const toml::node* node = table_.get(key);
  if (node->is_table() || node->is_array()) {
    found << node->type();
  } else {
    node->visit([&](const auto& value) {
      if constexpr (toml::is_value<decltype(value)>) {
        found << value.get();
      }
    });
  }
  throw InputError::of("{}: {}{}: found {}, expected {}", place_of(*node, source_), path_.empty() ? "" : path_ + ".",
                       key, found.str(), expected);
}

std::string TableReader::text(const std::string& key, const std::string& otherwise, const std::string& meaning) {
  std::string result = otherwise;
  if (const toml::node* node = find(key)) {
    if (!node->is_string()) {
      fail(key, "a string");
    }
    result = **node->as_string();
  }
  note(key, result, meaning);
  return result;
}

std::string TableReader::choice(const std::string& key, const std::string& otherwise,
                                const std::vector<std::string>& choices, const std::string& meaning) {
  std::string result = text(key, otherwise, fmt::format("{}: {}", meaning, fmt::join(choices, ", ")));
  if (std::ranges::find(choices, result) == choices.end()) {
    fail(key, one_of(result, choices));
  }
  return result;
}

std::int64_t TableReader::integer(const std::string& key, std::int64_t otherwise, std::int64_t least, std::int64_t most,
                                  const std::string& meaning) {
  std::int64_t result = otherwise;
  if (const toml::node* node = find(key)) {
    if (!node->is_integer() || **node->as_integer() < least || **node->as_integer() > most) {
      fail(key, fmt::format("an integer from {} to {}", least, most));
    }
    result = **node->as_integer();
  }
  note(key, result, meaning);
  return result;
}

double TableReader::number(const std::string& key, double otherwise, double least, double most,
                           const std::string& meaning) {
  double result = otherwise;
  if (const toml::node* node = find(key)) {
    const auto value = node->is_number() ? node->value<double>() : std::nullopt;
    if (!value || !(*value >= least && *value <= most)) {
      fail(key, fmt::format("a number from {} to {}", least, most));
    }
    result = *value;
  }
  note(key, result, meaning);
  return result;
}

bool TableReader::boolean(const std::string& key, bool otherwise, const std::string& meaning) {
  bool result = otherwise;
  if (const toml::node* node = find(key)) {
    if (!node->is_boolean()) {
      fail(key, "true or false");
    }
    result = **node->as_boolean();
  }
  note(key, result, meaning);
  return result;
}

std::vector<std::int64_t> TableReader::integers(const std::string& key, const std::vector<std::int64_t>& otherwise,
                                                const std::string& meaning) {
  std::vector<std::int64_t> result = otherwise;
  if (const toml::node* node = find(key)) {
    if (!node->is_array()) {
      fail(key, "an array of integers");
    }
    result.clear();
    for (const toml::node& item : *node->as_array()) {
      if (!item.is_integer()) {
        fail(key, "an array of integers");
      }
      result.push_back(**item.as_integer());
    }
  }
  note(key, result, meaning);
  return result;
}

std::vector<double> TableReader::numbers(const std::string& key, const std::vector<double>& otherwise,
                                         const std::string& meaning) {
  std::vector<double> result = otherwise;
  if (const toml::node* node = find(key)) {
    if (!node->is_array()) {
      fail(key, "an array of numbers");
    }
    result.clear();
    for (const toml::node& item : *node->as_array()) {
      const auto value = item.is_number() ? item.value<double>() : std::nullopt;
      if (!value || !std::isfinite(*value)) {
        fail(key, "an array of finite numbers");
      }
      result.push_back(*value);
    }
  }
  note(key, result, meaning);
  return result;
}

std::vector<std::string> TableReader::texts(const std::string& key, const std::vector<std::string>& otherwise,
                                            const std::string& meaning) {
  std::vector<std::string> result = otherwise;
  if (const toml::node* node = find(key)) {
    if (!node->is_array()) {
      fail(key, "an array of strings");
    }
    result.clear();
    for (const toml::node& item : *node->as_array()) {
      if (!item.is_string()) {
        fail(key, "an array of strings");
      }
      result.push_back(**item.as_string());
    }
  }
  note(key, result, meaning);
  return result;
}

const toml::table* TableReader::table(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return nullptr;
  }
  if (!node->is_table()) {
    fail(key, "a table");
  }
  return node->as_table();
}

void TableReader::finish() const {
  for (const auto& [key, node] : table_) {
    const std::string name(key.str());
    if (!asked_.contains(name)) {
      const std::vector<std::string> known(asked_.begin(), asked_.end());
      const std::string near = nearest(name, known);
      throw InputError::of("{}: unknown key \"{}{}\"{}; known: {}", place_of(node, source_),
                           path_.empty() ? "" : path_ + ".", name,
                           near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near), fmt::join(known, ", "));
    }
  }
}

}  // namespace motley

#include "motley/config/table_reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

namespace motley {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest(std::string_view text, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, text.size() / 2);
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(text, candidate);
    if (distance < best_distance || (distance == best_distance && best.empty())) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

TableReader::TableReader(const toml::table& table, std::string source, std::string path)
    : table_(table), source_(std::move(source)), path_(std::move(path)) {}

const toml::node* TableReader::find(const std::string& key) {
  asked_.insert(key);
  return table_.get(key);
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
  const auto line = node->source().begin.line;
  throw InputError::of("{}:{}: {}{}: found {}, expected {}", source_, line, path_.empty() ? "" : path_ + ".", key,
                       found.str(), expected);
}

std::string TableReader::text(const std::string& key, const std::string& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  if (!node->is_string()) {
    fail(key, "a string");
  }
  return **node->as_string();
}

std::int64_t TableReader::integer(const std::string& key, std::int64_t otherwise, std::int64_t least,
                                  std::int64_t most) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  if (!node->is_integer() || **node->as_integer() < least || **node->as_integer() > most) {
    fail(key, fmt::format("an integer from {} to {}", least, most));
  }
  return **node->as_integer();
}

double TableReader::number(const std::string& key, double otherwise, double least, double most) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  const auto value = node->is_number() ? node->value<double>() : std::nullopt;
  if (!value || !(*value >= least && *value <= most)) {
    fail(key, fmt::format("a number from {} to {}", least, most));
  }
  return *value;
}

bool TableReader::boolean(const std::string& key, bool otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  if (!node->is_boolean()) {
    fail(key, "true or false");
  }
  return **node->as_boolean();
}

std::vector<std::int64_t> TableReader::integers(const std::string& key, const std::vector<std::int64_t>& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  std::vector<std::int64_t> result;
  if (!node->is_array()) {
    fail(key, "an array of integers");
  }
  for (const toml::node& item : *node->as_array()) {
    if (!item.is_integer()) {
      fail(key, "an array of integers");
    }
    result.push_back(**item.as_integer());
  }
  return result;
}

std::vector<double> TableReader::numbers(const std::string& key, const std::vector<double>& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  std::vector<double> result;
  if (!node->is_array()) {
    fail(key, "an array of numbers");
  }
  for (const toml::node& item : *node->as_array()) {
    const auto value = item.is_number() ? item.value<double>() : std::nullopt;
    if (!value || !std::isfinite(*value)) {
      fail(key, "an array of finite numbers");
    }
    result.push_back(*value);
  }
  return result;
}

std::vector<std::string> TableReader::texts(const std::string& key, const std::vector<std::string>& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  std::vector<std::string> result;
  if (!node->is_array()) {
    fail(key, "an array of strings");
  }
  for (const toml::node& item : *node->as_array()) {
    if (!item.is_string()) {
      fail(key, "an array of strings");
    }
    result.push_back(**item.as_string());
  }
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

std::vector<const toml::table*> TableReader::tables(const std::string& key) {
  const toml::node* node = find(key);
  std::vector<const toml::table*> result;
  if (node == nullptr) {
    return result;
  }
  if (!node->is_array()) {
    fail(key, "an array of tables");
  }
  for (const toml::node& item : *node->as_array()) {
    if (!item.is_table()) {
      fail(key, "an array of tables");
    }
    result.push_back(item.as_table());
  }
  return result;
}

void TableReader::finish() const {
  for (const auto& [key, node] : table_) {
    const std::string name(key.str());
    if (!asked_.contains(name)) {
      const std::vector<std::string> known(asked_.begin(), asked_.end());
      const std::string near = nearest(name, known);
      throw InputError::of("{}:{}: unknown key \"{}{}\"{}; known: {}", source_, node.source().begin.line,
                           path_.empty() ? "" : path_ + ".", name,
                           near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near), fmt::join(known, ", "));
    }
  }
}

}  // namespace motley

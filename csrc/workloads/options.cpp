#include "motley/workloads/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <string_view>
#include <vector>

#include "motley/base/error.h"

namespace motley {
namespace {

// Levenshtein's distance, one row at a time.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string shown(const toml::node& node) {
  std::ostringstream text;
  node.visit([&text](const auto& value) { text << value; });
  return text.str();
}

}  // namespace

const toml::node* TableReader::find(const std::string& key) {
  read_.insert(key);
  return table_.get(key);
}

std::int64_t TableReader::integer(const std::string& key, std::int64_t otherwise, std::int64_t least,
                                  std::int64_t most) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  const auto value = node->is_integer() ? node->value<std::int64_t>() : std::nullopt;
  if (!value || *value < least || *value > most) {
    throw InputError::of("{}: {} = {}: expected an integer from {} to {}", where_, key, shown(*node), least, most);
  }
  return *value;
}

double TableReader::number(const std::string& key, double otherwise, double least, double most) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  const auto value = node->is_number() ? node->value<double>() : std::nullopt;
  if (!value || !(*value >= least && *value <= most)) {
    throw InputError::of("{}: {} = {}: expected a number from {} to {}", where_, key, shown(*node), least, most);
  }
  return *value;
}

bool TableReader::boolean(const std::string& key, bool otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  if (!node->is_boolean()) {
    throw InputError::of("{}: {} = {}: expected true or false", where_, key, shown(*node));
  }
  return *node->value<bool>();
}

std::string TableReader::text(const std::string& key, const std::string& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) {
    return otherwise;
  }
  if (!node->is_string()) {
    throw InputError::of("{}: {} = {}: expected a text in quotes", where_, key, shown(*node));
  }
  return *node->value<std::string>();
}

void TableReader::finish() const {
  for (const auto& [key, node] : table_) {
    const std::string_view name = key.str();
    if (read_.contains(std::string(name))) {
      continue;
    }
    if (read_.empty()) {
      throw InputError::of("{}: unknown key \"{}\": there are none here", where_, name);
    }
    const auto nearest = std::min_element(read_.begin(), read_.end(), [name](const auto& a, const auto& b) {
      return distance(name, a) < distance(name, b);
    });
    throw InputError::of("{}: unknown key \"{}\": nearest is \"{}\"", where_, name, *nearest);
  }
}

}  // namespace motley

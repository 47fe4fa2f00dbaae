#pragma once

#include <toml++/toml.h>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "motley/base/error.h"

namespace motley {

/// The name in `known` nearest to `text` by edit distance; empty if none is near.
[[nodiscard]] std::string nearest(std::string_view text, const std::vector<std::string>& known);

/// Reads one TOML table key by key; every key has a default given where it is read. finish() refuses the keys nobody
/// asked for and suggests the nearest one. All errors are InputErrors naming file, table and key. Holds a reference.
class TableReader {
 public:
  TableReader(const toml::table& table, std::string source, std::string path);

  [[nodiscard]] std::string text(const std::string& key, const std::string& otherwise);
  [[nodiscard]] std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t least,
                                     std::int64_t most);
  [[nodiscard]] double number(const std::string& key, double otherwise, double least, double most);
  [[nodiscard]] bool boolean(const std::string& key, bool otherwise);
  [[nodiscard]] std::vector<std::int64_t> integers(const std::string& key, const std::vector<std::int64_t>& otherwise);
  [[nodiscard]] std::vector<double> numbers(const std::string& key, const std::vector<double>& otherwise);
  [[nodiscard]] std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& otherwise);
  /// Null when absent. The key counts as known.
  [[nodiscard]] const toml::table* table(const std::string& key);
  [[nodiscard]] std::vector<const toml::table*> tables(const std::string& key);
  void finish() const;

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;
  const toml::node* find(const std::string& key);

  const toml::table& table_;
  std::string source_;
  std::string path_;
  std::set<std::string> asked_;
};

}  // namespace motley

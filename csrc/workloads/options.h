#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <set>
#include <string>

namespace motley {

/// Reads the keys of one TOML table and, at the end, refuses those that nobody asked for.
///
/// Every error is an InputError that names `where`, the key, what was found and what was expected.
class TableReader {
 public:
  /// `where` heads messages, e.g. "[model] router". The table must outlive the reader.
  TableReader(const toml::table& table, std::string where) : table_(table), where_(std::move(where)) {}

  [[nodiscard]] std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t least,
                                     std::int64_t most);
  [[nodiscard]] double number(const std::string& key, double otherwise, double least, double most);
  [[nodiscard]] bool boolean(const std::string& key, bool otherwise);
  [[nodiscard]] std::string text(const std::string& key, const std::string& otherwise);

  /// Throws InputError for the first key that was not read, naming the nearest one that could have been meant.
  void finish() const;

 private:
  const toml::node* find(const std::string& key);

  const toml::table& table_;
  std::string where_;
  std::set<std::string> read_;
};

}  // namespace motley

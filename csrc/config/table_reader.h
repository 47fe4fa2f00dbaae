#pragma once

#include <toml++/toml.h>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "motley/base/error.h"

namespace motley {

/// One key of a configuration as it takes effect.
struct ConfigKey {
  std::string path;     ///< "train.steps"
  std::string value;    ///< as TOML
  std::string origin;   ///< "FILE:LINE", "--set", or empty: the default
  std::string meaning;  ///< what the reader of the key says about it
};

/// Reads one TOML table key by key; where a key is read, its default, its range and its meaning are given. finish()
/// refuses the keys nobody asked for and suggests the nearest one. All errors are InputErrors naming file, line, table
/// and key. Holds references.
class TableReader {
 public:
  /// Keys asked for are added to `keys`, if there is one, in their order.
  TableReader(const toml::table& table, std::string source, std::string path, std::vector<ConfigKey>* keys = nullptr);

  [[nodiscard]] std::string text(const std::string& key, const std::string& otherwise, const std::string& meaning);
  /// One of `choices`; the nearest is suggested.
  [[nodiscard]] std::string choice(const std::string& key, const std::string& otherwise,
                                   const std::vector<std::string>& choices, const std::string& meaning);
  [[nodiscard]] std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t least,
                                     std::int64_t most, const std::string& meaning);
  [[nodiscard]] double number(const std::string& key, double otherwise, double least, double most,
                              const std::string& meaning);
  [[nodiscard]] bool boolean(const std::string& key, bool otherwise, const std::string& meaning);
  [[nodiscard]] std::vector<std::int64_t> integers(const std::string& key, const std::vector<std::int64_t>& otherwise,
                                                   const std::string& meaning);
  [[nodiscard]] std::vector<double> numbers(const std::string& key, const std::vector<double>& otherwise,
                                            const std::string& meaning);
  [[nodiscard]] std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& otherwise,
                                               const std::string& meaning);
  /// Null when absent. The key counts as known; what it means, the reader of the table says.
  [[nodiscard]] const toml::table* table(const std::string& key);
  void finish() const;

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;
  const toml::node* find(const std::string& key);
  template <typename Value>
  void note(const std::string& key, const Value& value, const std::string& meaning);

  const toml::table& table_;
  std::string source_;
  std::string path_;
  std::vector<ConfigKey>* keys_;
  std::set<std::string> asked_;
};

}  // namespace motley

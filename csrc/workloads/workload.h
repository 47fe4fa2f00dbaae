#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "motley/config/table_reader.h"
#include "motley/workloads/data_order.h"
#include "motley/workloads/layer.h"

namespace motley {

enum class Split { Train, Validation, Test };

/// Where samples come from. Safe to read from several threads.
class DataSource {
 public:
  virtual ~DataSource() = default;

  /// Samples in `split`.
  [[nodiscard]] virtual std::int64_t size(Split split) const = 0;

  /// Names that fetch() knows.
  [[nodiscard]] virtual std::vector<std::string> fields() const = 0;

  /// The fields `names`, one row for each of `samples` (indices within the split), in their order. Throws InputError
  /// for an unknown name.
  [[nodiscard]] virtual Fields fetch(std::span<const std::string> names, Split split,
                                     std::span<const std::int64_t> samples) const = 0;
};

/// A model as a chain of layers, and its data. Layers are descriptions: no parameters exist before a Stage is made.
struct Workload {
  std::string name;
  std::vector<std::shared_ptr<const Layer>> layers;
  std::shared_ptr<const DataSource> data;
};

/// Element l is what layer l is handed; the first is {}, as is the last, number layers.size(). Throws InputError naming
/// the layer whose input does not fit or that ends the chain too early.
[[nodiscard]] std::vector<Boundary> boundaries_of(const Workload& workload);

/// Which workload, and its own keys.
struct WorkloadConfig {
  std::string name;
  std::shared_ptr<const toml::table> options = std::make_shared<toml::table>();
  std::filesystem::path folder;  ///< that relative paths in `options` start from; empty: the working directory
  std::string source = "workload options";  ///< heads messages about `options`: the file they came from
  std::vector<ConfigKey>* keys = nullptr;   ///< gets the keys as they take effect, before any data is read
  DType activations = DType::Float32;       ///< of what layers hand on: bfloat16 in mixed precision

  /// To read `options` with.
  [[nodiscard]] TableReader reader() const { return {*options, source, "workload_options", keys}; }
};

/// Options from TOML text. Throws toml::parse_error.
[[nodiscard]] std::shared_ptr<const toml::table> workload_options(std::string_view toml);

/// Workloads by name. A value: a program that adds its own starts from builtin_workloads() and hands its registry on.
class WorkloadRegistry {
 public:
  using Factory = std::function<Workload(const WorkloadConfig&)>;

  /// Throws InputError when the name is taken.
  void add(const std::string& name, Factory factory);

  /// Throws InputError for an unknown name, listing those there are, and for keys or data that do not fit.
  [[nodiscard]] Workload make(const WorkloadConfig& config) const;

  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::map<std::string, Factory> factories_;
};

/// "router" and "transformer".
[[nodiscard]] WorkloadRegistry builtin_workloads();

}  // namespace motley

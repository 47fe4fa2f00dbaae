#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fakes/control.h"

namespace motley::fakes {

/// The fakes' common memory.
class State final : public Control {
 public:
  static State& get();

  void play(const std::string& script) override;
  [[nodiscard]] std::vector<Operation> operations() const override;
  [[nodiscard]] Counts counts() const override;
  [[nodiscard]] std::vector<std::string> misuse() const override;

  /// Whether the script has something for this call of `name` on `device`, which counts: its value.
  std::optional<double> due(const std::string& name, int device);
  /// The same without a number, and without counting.
  [[nodiscard]] std::optional<double> value(const std::string& name, int device) const;
  /// From now on every call on the device returns `error`.
  void break_device(int device, int error);
  [[nodiscard]] int broken(int device) const;
  void log(const Operation& operation);
  void blame(const std::string& what);

  template <typename Change>
  void change(Change&& change) {
    const std::lock_guard lock(mutex_);
    change(counts_);
  }

 private:
  State();
  struct Line {
    std::string name;
    std::optional<int> at;
    double value = 1.0;
    int device = -1;
    std::map<int, int> seen = {};  // by device
  };

  mutable std::mutex mutex_;
  std::vector<Line> lines_;
  std::map<int, int> broken_;  // by device
  std::vector<Operation> operations_;
  std::vector<std::string> misuse_;
  Counts counts_;
};

}  // namespace motley::fakes

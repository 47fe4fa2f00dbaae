#pragma once

#include <algorithm>
#include <cstdint>

namespace motley {

/// The highest sum of changes that come in order of time; at one moment what is freed goes before what is taken.
class Peak {
 public:
  void add(double at_s, std::int64_t change) {
    if (at_s > at_s_) {
      settle();
      at_s_ = at_s;
    }
    pending_ += change;
  }
  [[nodiscard]] std::int64_t most() {
    settle();
    return most_;
  }

 private:
  void settle() {
    now_ += pending_;
    most_ = std::max(most_, now_);
    pending_ = 0;
  }

  double at_s_ = 0.0;
  std::int64_t now_ = 0;
  std::int64_t pending_ = 0;
  std::int64_t most_ = 0;
};

}  // namespace motley

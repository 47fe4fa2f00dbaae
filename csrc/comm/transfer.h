#pragma once

#include "motley/base/units.h"

namespace motley {

/// What a Work handle stands for; the promises are Work's.
class Transfer {
 public:
  Transfer() = default;
  virtual ~Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  [[nodiscard]] virtual bool is_done() const = 0;
  virtual void wait() = 0;
  [[nodiscard]] virtual Seconds start_time() const = 0;
  [[nodiscard]] virtual Seconds end_time() const = 0;
  [[nodiscard]] virtual bool times_link() const = 0;
};

}  // namespace motley

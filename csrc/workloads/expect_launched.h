#pragma once

#include <string_view>

#include "motley/base/error.h"

namespace motley {

/// Throws Fault unless `error`, which a kernel's launch returned, is success.
inline void expect_launched(int error, std::string_view kernel) {
  if (error != 0) {
    throw Fault::of("kernel {}: could not be launched (CUDA error {})", kernel, error);
  }
}

}  // namespace motley

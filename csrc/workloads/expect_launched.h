#pragma once

#include <string_view>

#include "motley/base/error.h"
#include "motley/kernels/device_kernels.h"

namespace motley {

/// Throws Fault unless `error`, which the launch of `kernel` of `table` returned, is success.
inline void expect_launched(const kernels::DeviceKernels& table, int error, std::string_view kernel) {
  if (error != 0) {
    throw Fault::of("kernel {}: could not be launched: {} (CUDA error {})", kernel, table.error_text(error), error);
  }
}

}  // namespace motley

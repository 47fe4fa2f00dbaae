#pragma once

#include <string>

#include "motley/cuda/api.h"
#include "motley/kernels/device_kernels.h"

namespace motley {

/// Fills the table of kernels for the devices of `cuda` from a shared library, by default the one that was built where
/// there was an nvcc. Throws Fault in one line: no library, a symbol it lacks, or an interface other than this
/// program's.
[[nodiscard]] kernels::DeviceKernels load_device_kernels(const CudaApi& cuda, const std::string& library = "");

}  // namespace motley

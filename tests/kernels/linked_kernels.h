#pragma once

#include "motley/kernels/device_kernels.h"

namespace motley::kernels {

/// The table of the kernels that the test is linked with: those of the emulator, which take no stream.
inline DeviceKernels linked_kernels() {
  DeviceKernels table;
  table.error_text = [](int) { return "an error of the emulator"; };
#define MOTLEY_KERNEL_LINKED(name, parameters) table.name = motley_kernel_##name;
  MOTLEY_DEVICE_KERNELS(MOTLEY_KERNEL_LINKED)
  MOTLEY_KERNEL_SCRATCHES(MOTLEY_KERNEL_LINKED)
#undef MOTLEY_KERNEL_LINKED
  return table;
}

}  // namespace motley::kernels

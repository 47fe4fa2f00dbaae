#include "motley/device/device_kernels.h"

#include <dlfcn.h>

#include "motley/base/error.h"
#include "motley/cuda/symbol.h"

namespace motley {
kernels::DeviceKernels load_device_kernels(const CudaApi& cuda, const std::string& library) {
  kernels::DeviceKernels table;
  table.error_text = cuda.cudaGetErrorString;
  table.library = library.empty() ? "libmotley_device_kernels.so" : library;
  void* const handle = dlopen(table.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw Fault::of("no kernels for GPUs: {} could not be loaded (a build with nvcc makes it)", table.library);
  }
  int (*interface)() = nullptr;
  find_symbol(handle, "kernels for GPUs", table.library, "motley_kernel_interface", interface);
  if (const int found = interface(); found != kernels::kDeviceKernelsInterface) {
    throw Fault::of("no kernels for GPUs: {} has interface {}, expected {}: build it anew", table.library, found,
                    kernels::kDeviceKernelsInterface);
  }
#define MOTLEY_KERNEL_FIND(name, parameters) \
  find_symbol(handle, "kernels for GPUs", table.library, "motley_kernel_" #name, table.name);
  MOTLEY_DEVICE_KERNELS(MOTLEY_KERNEL_FIND)
  MOTLEY_KERNEL_SCRATCHES(MOTLEY_KERNEL_FIND)
#undef MOTLEY_KERNEL_FIND
  return table;
}

}  // namespace motley

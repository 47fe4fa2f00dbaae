#include "motley/device/device_kernels.h"

#include <dlfcn.h>

#include "motley/base/error.h"

namespace motley {
namespace {

template <typename Function>
void find(void* handle, const std::string& library, const char* symbol, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(handle, symbol));
  if (function == nullptr) {
    throw Fault::of("no kernels for GPUs: {} has no {}", library, symbol);
  }
}

}  // namespace

kernels::DeviceKernels load_device_kernels(const std::string& library) {
  kernels::DeviceKernels table;
  table.library = library.empty() ? "libmotley_device_kernels.so" : library;
  void* const handle = dlopen(table.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw Fault::of("no kernels for GPUs: {} could not be loaded (a build with nvcc makes it)", table.library);
  }
  int (*interface)() = nullptr;
  find(handle, table.library, "motley_kernel_interface", interface);
  if (const int found = interface(); found != kernels::kDeviceKernelsInterface) {
    throw Fault::of("no kernels for GPUs: {} has interface {}, expected {}: build it anew", table.library, found,
                    kernels::kDeviceKernelsInterface);
  }
#define MOTLEY_KERNEL_FIND(name, parameters) find(handle, table.library, "motley_kernel_" #name, table.name);
  MOTLEY_DEVICE_KERNELS(MOTLEY_KERNEL_FIND)
  MOTLEY_KERNEL_SCRATCHES(MOTLEY_KERNEL_FIND)
#undef MOTLEY_KERNEL_FIND
  return table;
}

}  // namespace motley

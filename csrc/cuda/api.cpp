#include "motley/cuda/api.h"

#include <dlfcn.h>

#include <vector>

#include "motley/base/error.h"
#include "motley/cuda/symbol.h"

namespace motley {
namespace {

void* open(const std::string& library, std::string& name) {
  const std::vector<std::string> names =
      library.empty() ? std::vector<std::string>{"libcudart.so.13", "libcudart.so.12", "libcudart.so"}
                      : std::vector<std::string>{library};
  for (const std::string& candidate : names) {
    if (void* const handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      name = candidate;
      return handle;
    }
  }
  throw Fault::of("no CUDA: {} could not be loaded", names.front());
}

}  // namespace

CudaApi load_cuda(const std::string& library) {
  CudaApi api;
  // Never closed: a runtime keeps threads of its own.
  void* const handle = open(library, api.library);
#define MOTLEY_CUDA_FIND(name, parameters) find_symbol(handle, "CUDA", api.library, #name, api.name);
  MOTLEY_CUDA_CALLS(MOTLEY_CUDA_FIND)
#undef MOTLEY_CUDA_FIND
  find_symbol(handle, "CUDA", api.library, "cudaGetErrorString", api.cudaGetErrorString);
  api.is_fake = dlsym(handle, "motleyFakeCuda") != nullptr;
  return api;
}

}  // namespace motley

#include "motley/comm/nccl/api.h"

#include <dlfcn.h>

#include "motley/base/error.h"
#include "motley/cuda/symbol.h"

namespace motley {
namespace {

constexpr int kOldest = 21700;

}  // namespace

std::string nccl_version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

NcclApi load_nccl(const std::string& library) {
  NcclApi api;
  api.library = library.empty() ? "libnccl.so.2" : library;
  void* const handle = dlopen(api.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw Fault::of("no NCCL: {} could not be loaded", api.library);
  }
#define MOTLEY_NCCL_FIND(name, parameters) find_symbol(handle, "NCCL", api.library, #name, api.name);
  MOTLEY_NCCL_CALLS(MOTLEY_NCCL_FIND)
#undef MOTLEY_NCCL_FIND
  find_symbol(handle, "NCCL", api.library, "ncclGetErrorString", api.ncclGetErrorString);
  find_symbol(handle, "NCCL", api.library, "ncclGetLastError", api.ncclGetLastError);
  if (api.ncclGetVersion(&api.version) != kNcclSuccess || api.version < kOldest) {
    throw Fault::of("no NCCL: {} is version {}, expected at least {}", api.library, nccl_version_text(api.version),
                    nccl_version_text(kOldest));
  }
  return api;
}

}  // namespace motley

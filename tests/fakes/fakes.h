#pragma once

#include <dlfcn.h>

#include <stdexcept>

#include "fakes/control.h"
#include "motley/comm/nccl/api.h"
#include "motley/cuda/api.h"

namespace motley::fakes {

// For tests: the fakes, loaded as the real libraries are.

inline CudaApi cuda() {
  return load_cuda(MOTLEY_FAKE_GPU);
}

inline NcclApi nccl() {
  return load_nccl(MOTLEY_FAKE_GPU);
}

inline Control& control() {
  void* const handle = dlopen(MOTLEY_FAKE_GPU, RTLD_NOW | RTLD_LOCAL);
  void* const symbol = handle == nullptr ? nullptr : dlsym(handle, "motleyFakeCuda");
  if (symbol == nullptr) throw std::runtime_error("no fake GPU");
  return *reinterpret_cast<Control* (*)()>(symbol)();
}

}  // namespace motley::fakes

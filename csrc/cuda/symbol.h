#pragma once

#include <dlfcn.h>

#include <string>
#include <string_view>

#include "motley/base/error.h"

namespace motley {

/// Points `function` to `symbol` of `library`, which dlopen() gave `handle` for. Throws Fault "no NCCL: LIBRARY has no
/// SYMBOL" where it has none, `what` being "NCCL".
template <typename Function>
void find_symbol(void* handle, std::string_view what, const std::string& library, const char* symbol,
                 Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(handle, symbol));
  if (function == nullptr) {
    throw Fault::of("no {}: {} has no {}", what, library, symbol);
  }
}

}  // namespace motley

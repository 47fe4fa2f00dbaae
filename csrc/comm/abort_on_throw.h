#pragma once

#include <exception>
#include <utility>

#include "motley/comm/communicator.h"

namespace motley {

/// Runs `body`. What it throws first ends the run on every rank, with its text as the reason, and is then thrown on.
/// Buffers of works that may be under way must be declared outside of `body`: after the abort nothing touches them.
template <typename Body>
auto abort_on_throw(Communicator& communicator, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const std::exception& error) {
    communicator.abort(error);
    throw;
  }
}

}  // namespace motley

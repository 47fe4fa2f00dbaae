#pragma once

#include "motley/base/error.h"
#include "motley/comm/abort_on_throw.h"
#include "motley/comm/signals.h"

namespace motley {

/// The part of a command that every rank runs together. What `body` throws ends the run on every rank and is told once
/// by each of them. Returns the exit code.
template <typename Body>
int on_ranks(SignalWatch& signals, Communicator& communicator, Body&& body) {
  signals.watch(communicator);
  try {
    abort_on_throw(communicator, std::forward<Body>(body));
    return 0;
  } catch (const InputError& error) {
    signals.report(error.what());
    return 2;
  } catch (const std::exception& error) {
    signals.report(error.what());
    return 1;
  }
}

}  // namespace motley

#pragma once

#include <ATen/ATen.h>

#include "motley/comm/communicator.h"
#include "motley/device/pacing.h"

namespace motley {

/// Something for a host to compute that can be disturbed, in pieces of some tenths of a millisecond.
class Load {
 public:
  explicit Load(Pacer pacer) : pacer_(pacer) {}

  void piece() {
    pacer_.run([&] { at::mm_out(product_, matrix_, matrix_); });
  }

  /// Seconds of a piece while `go_on`, asked after each, says so.
  template <typename GoOn>
  double seconds_a_piece(Communicator& communicator, GoOn&& go_on) {
    const Seconds start = communicator.now();
    int pieces = 0;
    do {
      piece();
      ++pieces;
    } while (go_on());
    return (communicator.now() - start).value / pieces;
  }

 private:
  Pacer pacer_;
  at::Tensor matrix_ = at::ones({192, 192});
  at::Tensor product_ = at::empty({192, 192});
};

}  // namespace motley

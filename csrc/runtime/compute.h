#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "motley/comm/fabric.h"
#include "motley/device/device.h"
#include "motley/device/pacing.h"
#include "motley/runtime/timeline.h"

namespace motley {

/// What a rank computes: in order on its device, at its emulated speed, booked.
class Compute {
 public:
  Compute(ComputeDevice& device, Fabric& fabric, Pacer pacer, Timeline& timeline)
      : device_(device), fabric_(fabric), pacer_(pacer), timeline_(timeline) {}

  /// Runs `body`, which puts its work into the device's order (and on the host does it).
  template <typename Body>
  std::invoke_result_t<Body> run(const std::string& label, bool update, Body&& body) {
    fabric_.before_compute(label);
    const ComputeDevice::Stamp start = device_.stamp();
    if constexpr (std::is_void_v<std::invoke_result_t<Body>>) {
      pacer_.run(std::forward<Body>(body));
      timeline_.computed(label, update, start, device_.stamp());
    } else {
      auto result = pacer_.run(std::forward<Body>(body));
      timeline_.computed(label, update, start, device_.stamp());
      return result;
    }
  }

  /// Books what `wait` waits for: what is computed next comes after it.
  template <typename Wait>
  void wait(const std::string& label, Wait&& wait) {
    const ComputeDevice::Stamp start = device_.stamp();
    std::forward<Wait>(wait)();
    timeline_.waited(label, start, device_.stamp());
  }

  /// Returns when all that was computed so far is done. Throws CommError.
  void settle(std::string_view label) {
    fabric_.settle(label, [this] { return device_.passed(); });
  }

  [[nodiscard]] ComputeDevice& device() { return device_; }
  [[nodiscard]] Fabric& fabric() { return fabric_; }

 private:
  ComputeDevice& device_;
  Fabric& fabric_;
  Pacer pacer_;
  Timeline& timeline_;
};

}  // namespace motley

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace motley::kernels {

/// An array that a kernel may be handed: on the GPU where the tests were built for one (test_kernels_cuda), else in the
/// emulator's memory. Aligned to 16 bytes, with bytes behind it that nobody may change.
template <typename Value>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<Value>& values) : size_(values.size()), memory_(bytes() / 16 + 4) {
    std::memset(memory_.data(), kBehind, memory_.size() * sizeof(Line));
    if (!values.empty()) {
      std::memcpy(memory_.data(), values.data(), bytes());
    }
  }
  explicit DeviceArray(std::size_t size) : DeviceArray(std::vector<Value>(size)) {}

  Value* data() { return reinterpret_cast<Value*>(memory_.data()); }

  /// What it holds now.
  std::vector<Value> host() {
    std::vector<Value> values(size_);
    if (size_ > 0) {
      std::memcpy(values.data(), memory_.data(), bytes());
    }
    return values;
  }

  bool intact_behind() {
    const auto* all = reinterpret_cast<const unsigned char*>(memory_.data());
    for (std::size_t i = bytes(); i < memory_.size() * sizeof(Line); ++i) {
      if (all[i] != kBehind) return false;
    }
    return true;
  }

 private:
  static constexpr unsigned char kBehind = 0x5a;
  struct alignas(16) Line {
    unsigned char bytes[16];
  };
  std::size_t bytes() const { return size_ * sizeof(Value); }

  std::size_t size_;
  std::vector<Line> memory_;
};

}  // namespace motley::kernels

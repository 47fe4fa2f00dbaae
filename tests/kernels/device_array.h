#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef MOTLEY_KERNELS_FOR_GPU
#include <cuda_runtime_api.h>
#endif

namespace motley::kernels {

/// An array that a kernel may be handed: on the GPU where the tests are built for one (test_kernels_cuda), else memory
/// of the emulator. Aligned to 16 bytes, with bytes behind it that nobody may change.
template <typename Value>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<Value>& values) : size_(values.size()), memory_(bytes() + kBytesBehind) {
    std::vector<unsigned char> all(bytes() + kBytesBehind, kBehind);
    if (!values.empty()) {
      std::memcpy(all.data(), values.data(), bytes());
    }
    memory_.write(all);
  }
  explicit DeviceArray(std::size_t size) : DeviceArray(std::vector<Value>(size)) {}

  Value* data() { return static_cast<Value*>(memory_.data()); }

  /// What it holds once all launches are done.
  std::vector<Value> host() {
    const std::vector<unsigned char> all = memory_.read();
    std::vector<Value> values(size_);
    if (size_ > 0) {
      std::memcpy(values.data(), all.data(), bytes());
    }
    return values;
  }

  bool intact_behind() {
    const std::vector<unsigned char> all = memory_.read();
    for (std::size_t i = bytes(); i < all.size(); ++i) {
      if (all[i] != kBehind) return false;
    }
    return true;
  }

 private:
  static constexpr unsigned char kBehind = 0x5a;
  static constexpr std::size_t kBytesBehind = 64;

#ifdef MOTLEY_KERNELS_FOR_GPU
  class Memory {
   public:
    explicit Memory(std::size_t size) : size_(size) { check(cudaMalloc(&data_, size)); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { cudaFree(data_); }
    void* data() { return data_; }
    void write(const std::vector<unsigned char>& all) {
      check(cudaMemcpy(data_, all.data(), size_, cudaMemcpyDefault));
    }
    std::vector<unsigned char> read() {
      std::vector<unsigned char> all(size_);
      check(cudaMemcpy(all.data(), data_, size_, cudaMemcpyDefault));  // waits for what was launched before
      return all;
    }

   private:
    static void check(cudaError_t error) {
      if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
    }
    void* data_ = nullptr;
    std::size_t size_;
  };
#else
  class Memory {
   public:
    explicit Memory(std::size_t size) : size_(size), lines_(size / 16 + 1) {}
    void* data() { return lines_.data(); }
    void write(const std::vector<unsigned char>& all) { std::memcpy(lines_.data(), all.data(), size_); }
    std::vector<unsigned char> read() {
      const auto* begin = reinterpret_cast<const unsigned char*>(lines_.data());
      return {begin, begin + size_};
    }

   private:
    struct alignas(16) Line {
      unsigned char bytes[16];
    };
    std::size_t size_;
    std::vector<Line> lines_;
  };
#endif

  std::size_t bytes() const {
    return size_ * sizeof(Value);
  }

  std::size_t size_;
  Memory memory_;
};

}  // namespace motley::kernels

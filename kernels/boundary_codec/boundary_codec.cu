#include "motley/kernels/boundary_codec/boundary_codec.cuh"

#include "motley/kernels/boundary_codec/format.h"
#include "motley/kernels/launch.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {
namespace {

constexpr unsigned kBlock = kCodecBlock;

__device__ inline std::size_t padded(std::size_t count) {
  return (count + kBlock - 1) / kBlock * kBlock;
}
__device__ inline std::size_t thread_number() {
  return static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
}

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    encode_plain(const Value* values, std::size_t count, bool stochastic, std::uint64_t seed, std::int8_t* codes) {
  const std::size_t begin = thread_number() * kBlock;
  if (begin >= count) {
    return;
  }
  const std::size_t end = begin + kBlock < count ? begin + kBlock : count;
  std::uint32_t largest = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const std::uint32_t magnitude = codec::magnitude(codec::load(values + i));
    largest = magnitude > largest ? magnitude : largest;
  }
  const float inverse = codec::inverse_scale(largest);
  const std::uint64_t key = codec::block_key(seed, begin / kBlock);
  for (std::size_t i = begin; i < begin + kBlock; ++i) {
    const auto place = static_cast<std::uint32_t>(i - begin);
    codes[i] =
        static_cast<std::int8_t>(i < end ? codec::code(codec::load(values + i), inverse, stochastic, key, place) : 0);
  }
  reinterpret_cast<float*>(codes + padded(count))[begin / kBlock] = codec::scale(largest);
}

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    decode_plain(const std::int8_t* codes, std::size_t count, Value* values) {
  const std::size_t i = thread_number();
  if (i < count) {
    const float scale = reinterpret_cast<const float*>(codes + padded(count))[i / kBlock];
    codec::store(values + i, codec::product(static_cast<float>(codes[i]), scale));
  }
}

/// 16 bytes of values in registers (a union with an array would live in memory), and their codes.
template <typename Value>
struct Pack {
  static constexpr unsigned kValues = 16 / sizeof(Value);
  static constexpr unsigned kLanes = kBlock / kValues;  // that share a scale
  static constexpr unsigned kAWord = kValues / 4;       // values in one

  std::uint32_t word[4] = {0, 0, 0, 0};

  __device__ void load(const Value* from) {
    const uint4 bits = *reinterpret_cast<const uint4*>(from);
    word[0] = bits.x;
    word[1] = bits.y;
    word[2] = bits.z;
    word[3] = bits.w;
  }
  __device__ void store(Value* to) const {
    *reinterpret_cast<uint4*>(to) = make_uint4(word[0], word[1], word[2], word[3]);
  }
  __device__ float value(unsigned i) const {
    if constexpr (kAWord == 1) {
      return codec::float_of(word[i]);
    } else {
      return codec::from_bfloat16(static_cast<std::uint16_t>(word[i / 2] >> (i % 2 * 16)));
    }
  }
  /// Into a word that is still 0.
  __device__ void set(unsigned i, float value) {
    if constexpr (kAWord == 1) {
      word[i] = codec::bits_of(value);
    } else {
      word[i / 2] |= static_cast<std::uint32_t>(codec::to_bfloat16(value)) << (i % 2 * 16);
    }
  }

  struct alignas(kValues) Codes {
    std::int8_t code[kValues];
  };
};

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    encode_vectorised(const Value* values, std::size_t count, bool stochastic, std::uint64_t seed, std::int8_t* codes) {
  using P = Pack<Value>;
  const std::size_t first = thread_number() * P::kValues;
  // Whole groups of lanes go on or end together: their block of values is inside or outside.
  if (first / kBlock * kBlock >= count) {
    return;
  }
  const unsigned lane = threadIdx.x % 32;
  const unsigned group = lane / P::kLanes * P::kLanes;
  const unsigned mask = (P::kLanes == 32 ? 0xffffffffU : (1U << P::kLanes) - 1U) << group;

  P pack;
  if (first + P::kValues <= count) {
    pack.load(values + first);
  } else {
    MOTLEY_UNROLL
    for (unsigned i = 0; i < P::kValues; ++i) {
      if (first + i < count) {
        pack.set(i, codec::load(values + first + i));
      }
    }
  }
  std::uint32_t largest = 0;
  MOTLEY_UNROLL
  for (unsigned i = 0; i < P::kValues; ++i) {
    const std::uint32_t magnitude = codec::magnitude(pack.value(i));
    largest = magnitude > largest ? magnitude : largest;
  }
  for (unsigned step = P::kLanes / 2; step > 0; step /= 2) {
    const std::uint32_t other = __shfl_xor_sync(mask, largest, static_cast<int>(step));
    largest = other > largest ? other : largest;
  }
  const float inverse = codec::inverse_scale(largest);
  const std::uint64_t key = codec::block_key(seed, first / kBlock);
  typename P::Codes out;
  MOTLEY_UNROLL
  for (unsigned i = 0; i < P::kValues; ++i) {
    // What lies behind the values was read as 0, whose code is 0.
    const auto place = static_cast<std::uint32_t>(first % kBlock + i);
    out.code[i] = static_cast<std::int8_t>(codec::code(pack.value(i), inverse, stochastic, key, place));
  }
  *reinterpret_cast<typename P::Codes*>(codes + first) = out;
  if (lane == group) {
    reinterpret_cast<float*>(codes + padded(count))[first / kBlock] = codec::scale(largest);
  }
}

template <typename Value>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    decode_vectorised(const std::int8_t* codes, std::size_t count, Value* values) {
  using P = Pack<Value>;
  const std::size_t first = thread_number() * P::kValues;
  if (first >= count) {
    return;
  }
  const float scale = reinterpret_cast<const float*>(codes + padded(count))[first / kBlock];
  const typename P::Codes in = *reinterpret_cast<const typename P::Codes*>(codes + first);
  P pack;
  MOTLEY_UNROLL
  for (unsigned i = 0; i < P::kValues; ++i) {
    pack.set(i, codec::product(static_cast<float>(in.code[i]), scale));
  }
  if (first + P::kValues <= count) {
    pack.store(values + first);
  } else {
    MOTLEY_UNROLL
    for (unsigned i = 0; i < P::kValues; ++i) {
      if (first + i < count) {
        codec::store(values + first + i, pack.value(i));
      }
    }
  }
}

dim3 blocks_for(std::size_t threads) {
  return dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads));
}

template <typename Value>
int encode_as(CodecVersion version, const Value* values, std::size_t count, bool stochastic, std::uint64_t seed,
              std::int8_t* codes, Stream stream) {
  const std::size_t blocks = (count + kBlock - 1) / kBlock;
  if (version == CodecVersion::Plain) {
    return launch(encode_plain<Value>, blocks_for(blocks), dim3(kThreads), stream, values, count, stochastic, seed,
                  codes);
  }
  return launch(encode_vectorised<Value>, blocks_for(blocks * Pack<Value>::kLanes), dim3(kThreads), stream, values,
                count, stochastic, seed, codes);
}

template <typename Value>
int decode_as(CodecVersion version, const std::int8_t* codes, std::size_t count, Value* values, Stream stream) {
  if (version == CodecVersion::Plain) {
    return launch(decode_plain<Value>, blocks_for(count), dim3(kThreads), stream, codes, count, values);
  }
  return launch(decode_vectorised<Value>, blocks_for((count + Pack<Value>::kValues - 1) / Pack<Value>::kValues),
                dim3(kThreads), stream, codes, count, values);
}

}  // namespace

int encode(CodecVersion version, const void* values, Element element, std::size_t count, Rounding rounding,
           std::uint64_t seed, void* codes, Stream stream) {
  if (count == 0) {
    return 0;
  }
  const bool stochastic = rounding == Rounding::Stochastic;
  auto* const out = static_cast<std::int8_t*>(codes);
  return element == Element::Float32
             ? encode_as(version, static_cast<const float*>(values), count, stochastic, seed, out, stream)
             : encode_as(version, static_cast<const std::uint16_t*>(values), count, stochastic, seed, out, stream);
}

int decode(CodecVersion version, const void* codes, std::size_t count, Element element, void* values, Stream stream) {
  if (count == 0) {
    return 0;
  }
  const auto* const in = static_cast<const std::int8_t*>(codes);
  return element == Element::Float32 ? decode_as(version, in, count, static_cast<float*>(values), stream)
                                     : decode_as(version, in, count, static_cast<std::uint16_t*>(values), stream);
}

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

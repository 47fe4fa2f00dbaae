#include "motley/workloads/data_order.h"

#include <bit>

#include "motley/base/error.h"
#include "motley/kernels/mix.h"

namespace motley {
namespace {

using kernels::mix;

constexpr int kRounds = 6;

// One permutation of [0, 4^half_bits): two halves, each round adds a keyed hash of one to the other.
std::uint64_t feistel(std::uint64_t x, std::uint64_t key, int half_bits) {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  std::uint64_t left = x >> half_bits;
  std::uint64_t right = x & mask;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t next = left ^ (mix(right ^ mix(key + static_cast<std::uint64_t>(round))) & mask);
    left = right;
    right = next;
  }
  return (left << half_bits) | right;
}

}  // namespace

std::vector<std::int64_t> samples_of_step(std::uint64_t seed, std::int64_t step, std::int64_t batch,
                                          std::int64_t size) {
  MOTLEY_CHECK(step >= 0 && batch > 0 && size > 0, "step {}, batch {}, size {}", step, batch, size);
  const auto range = static_cast<std::uint64_t>(size);
  const int half_bits = (std::bit_width(range - 1) + 1) / 2;
  std::vector<std::int64_t> samples;
  samples.reserve(static_cast<std::size_t>(batch));
  for (std::int64_t i = 0; i < batch; ++i) {
    const std::uint64_t position =
        static_cast<std::uint64_t>(step) * static_cast<std::uint64_t>(batch) + static_cast<std::uint64_t>(i);
    const std::uint64_t key = mix(mix(seed) ^ (position / range));
    std::uint64_t sample = position % range;
    do {
      sample = feistel(sample, key, half_bits);
    } while (sample >= range);
    samples.push_back(static_cast<std::int64_t>(sample));
  }
  return samples;
}

}  // namespace motley

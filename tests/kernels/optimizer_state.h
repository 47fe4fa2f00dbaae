#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "motley/kernels/arithmetic.h"
#include "motley/kernels/decay_runs.h"

namespace motley::kernels {

inline std::vector<float> normal(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

inline std::vector<std::uint16_t> rounded(const std::vector<float>& values) {
  std::vector<std::uint16_t> halves;
  for (const float value : values) halves.push_back(arithmetic::to_bfloat16(value));
  return halves;
}

/// Parameters of odd sizes behind each other, padded, so that runs begin anywhere in a block of threads.
inline std::vector<DecayRun> some_runs(std::size_t count) {
  std::vector<DecayRun> runs;
  std::size_t end = 0;
  for (std::size_t i = 0; end < count; ++i) {
    end = std::min(count, end + kDecayAlignment * (1 + i * i * 7 % 61));
    runs.push_back({end, i % 3 != 1});
  }
  return runs;
}

}  // namespace motley::kernels

#pragma once

#include <cstddef>

#include "motley/kernels/arithmetic.h"

namespace motley::kernels {

/// Elements from the end of the run before (0 for the first) up to `end` decay, or do not. An optimiser's flat buffers
/// are covered by runs in ascending order.
struct DecayRun {
  std::size_t end;
  bool decays;
};

/// Every end of a run but the last is a multiple of this many elements, as a layout of parameters aligned to 64 bytes
/// gives.
inline constexpr std::size_t kDecayAlignment = 16;

/// The run that `element` belongs to: the first that ends behind it. O(log run_count).
MOTLEY_HOST_DEVICE unsigned run_of(std::size_t element, const DecayRun* runs, unsigned run_count) {
  unsigned low = 0;
  unsigned high = run_count - 1;
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    if (runs[middle].end > element) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/// On the host: visit(first element, elements, whether they decay) of every run in order.
template <typename Visit>
void for_each_run(const DecayRun* runs, std::size_t run_count, Visit&& visit) {
  std::size_t begin = 0;
  for (const DecayRun* run = runs; run != runs + run_count; ++run) {
    visit(begin, run->end - begin, run->decays);
    begin = run->end;
  }
}

}  // namespace motley::kernels

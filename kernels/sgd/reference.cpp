#include "motley/kernels/sgd/formula.h"

namespace motley::kernels {

void sgd_reference(const SgdBuffers& buffers, const DecayRun* runs, std::size_t run_count, const SgdStep& step) {
  for_each_run(runs, run_count, [&](std::size_t begin, std::size_t count, bool decays) {
    for (std::size_t i = begin; i < begin + count; ++i) {
      sgd_at(buffers, i, decays, step);
    }
  });
}

}  // namespace motley::kernels

#pragma once

#include "motley/kernels/sgd/sgd.h"
#include "motley/kernels/space.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The ladder, slowest first.
enum class SgdVersion {
  Plain,     ///< a thread an element, which looks up its run itself
  TwoAhead,  ///< a thread eight elements, 16 bytes at a time; a block looks up its first run while its loads are on the
             ///< way
};

/// sgd_on_cpu in one launch over `count` elements, with device pointers (`runs` too; `runs[run_count - 1].end` is
/// `count`), on `stream`; the same bits. Returns a cudaError_t. TwoAhead needs buffers aligned to 16 bytes.
int sgd(SgdVersion version, const SgdBuffers& buffers, std::size_t count, const DecayRun* runs, std::size_t run_count,
        const SgdStep& step, Stream stream);

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

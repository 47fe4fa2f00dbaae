#pragma once

#include "motley/kernels/adamw/adamw.h"
#include "motley/kernels/space.h"

namespace motley::kernels::MOTLEY_KERNEL_SPACE {

/// The ladder, slowest first.
enum class AdamwVersion {
  Plain,       ///< a thread an element, which looks up its run itself
  Vectorised,  ///< a thread four elements, 16 bytes at a time; a block looks up its first run while its loads are on
               ///< the way
  TwoAhead,    ///< the same with eight elements, so that twice as many loads are on the way
};

/// adamw_on_cpu in one launch over `count` elements, with device pointers (`runs` too; `runs[run_count - 1].end` is
/// `count`), on `stream`; the same bits. Returns a cudaError_t. All but Plain need buffers aligned to 16 bytes.
int adamw(AdamwVersion version, const AdamwBuffers& buffers, std::size_t count, const DecayRun* runs,
          std::size_t run_count, const AdamwStep& step, Stream stream);

}  // namespace motley::kernels::MOTLEY_KERNEL_SPACE

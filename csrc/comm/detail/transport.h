#pragma once

#include <cstdint>
#include <memory>

#include "motley/comm/detail/link.h"

namespace motley {

/// A way to carry messages between ranks.
class Transport {
 public:
  Transport() = default;
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  /// The link number `stream` (from 1) between this rank and `peer`, which opens the same. Called from the working
  /// thread; blocks until the peer has done so where the transport needs it. Throws CommError.
  [[nodiscard]] virtual std::unique_ptr<Link> open(int peer, std::uint32_t stream, std::uint64_t members) = 0;
  /// After all ranks have said goodbye, when the owner thread has ended.
  virtual void close() {}
};

}  // namespace motley

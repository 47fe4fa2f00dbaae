#pragma once

#include <span>
#include <string>
#include <string_view>

#include "motley/base/units.h"
#include "motley/comm/detail/wire.h"

// Puts into words why a run ends, from what the ranks last said of themselves.
namespace motley {

/// One rank as another knows it.
struct RankView {
  Heartbeat beat;         ///< as last heard, with its times counted on to now
  Seconds silent_for{};   ///< since it was last heard
  bool silent = false;    ///< for longer than heartbeats explain
  bool finished = false;  ///< has said goodbye
};

/// "rank 0 waited 10.0 s for 0RECV_B1 from rank 1; rank 1 waited 10.0 s for 1RECV_B1 from rank 2; rank 2 has been in
/// 2B1 for 11.2 s". Follows who waits for whom from `me` to a rank that does not wait, is silent, or was met before.
/// `ranks` is indexed by rank; the entry of `me` is not read.
[[nodiscard]] std::string explain_late(int me, std::string_view what, int peer, Seconds waited,
                                       std::span<const RankView> ranks);

/// "rank 2 is gone (connection closed), last seen in 2F3; rank 1 was waiting for 1RECV_B3 from rank 2".
[[nodiscard]] std::string explain_lost(int lost, std::string_view how, const Heartbeat& last, int me,
                                       const Heartbeat& mine);

}  // namespace motley

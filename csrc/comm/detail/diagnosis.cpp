#include "motley/comm/detail/diagnosis.h"

#include <fmt/format.h>

#include <vector>

namespace motley {
namespace {

std::string peer_name(int peer) {
  return peer < 0 ? std::string("another rank") : fmt::format("rank {}", peer);
}

}  // namespace

std::string explain_late(int me, std::string_view what, int peer, Seconds waited, std::span<const RankView> ranks) {
  std::string text = fmt::format("rank {} waited {:.1f} s for {} from {}", me, waited.value, what, peer_name(peer));
  std::vector<bool> met(ranks.size(), false);
  met[static_cast<std::size_t>(me)] = true;
  int rank = peer;
  while (rank >= 0 && rank < static_cast<int>(ranks.size())) {
    const auto index = static_cast<std::size_t>(rank);
    if (met[index]) return text + fmt::format("; so these ranks wait for each other");
    met[index] = true;
    const RankView& view = ranks[index];
    if (view.finished) return text + fmt::format("; rank {} has finished", rank);
    if (view.silent) {
      return text + fmt::format("; rank {} has been silent for {:.1f} s, last seen in {}", rank, view.silent_for.value,
                                view.beat.action.view());
    }
    if (view.beat.waiting == 0) {
      return text + fmt::format("; rank {} has been in {} for {:.1f} s", rank, view.beat.action.view(),
                                view.beat.action_seconds);
    }
    text += fmt::format("; rank {} waited {:.1f} s for {} from {}", rank, view.beat.wait_seconds,
                        view.beat.wait_label.view(), peer_name(view.beat.waiting_for));
    rank = view.beat.waiting_for;
  }
  return text;
}

std::string explain_lost(int lost, std::string_view how, const Heartbeat& last, int me, const Heartbeat& mine) {
  std::string text = fmt::format("rank {} is gone ({}), last seen in {}", lost, how, last.action.view());
  if (last.waiting != 0) {
    text += fmt::format(" waiting for {} from {}", last.wait_label.view(), peer_name(last.waiting_for));
  }
  if (mine.waiting != 0) {
    return text +
           fmt::format("; rank {} was waiting for {} from {}", me, mine.wait_label.view(), peer_name(mine.waiting_for));
  }
  return text + fmt::format("; rank {} was in {}", me, mine.action.view());
}

}  // namespace motley

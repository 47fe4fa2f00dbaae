#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "motley/comm/communicator.h"

namespace motley {

/// What a rank will send and receive in an iteration: the bytes of every message's tensors, by the rank at the other
/// end, in order.
struct MessageSizes {
  using Message = std::vector<std::int64_t>;
  std::map<int, std::vector<Message>> sent;
  std::map<int, std::vector<Message>> received;
};

/// Compares both ends of every edge. Collective. Throws InputError on every rank, naming the edge, the first message
/// that differs and both sizes: ranks that were given different models or plans would else wait for each other, for
/// NCCL does not look.
void expect_same_sizes(Communicator& communicator, const MessageSizes& mine);

}  // namespace motley

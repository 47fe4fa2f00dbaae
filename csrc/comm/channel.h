#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "motley/comm/work.h"

namespace motley {

class Endpoint;
class Link;
struct WorkState;

/// One directed edge between this rank and a peer: first in, first out; the n-th receive takes the n-th send.
///
/// Both sides must give the same size. A mismatch ends the run with a CommError that names both sizes and both labels
/// on every rank; the sender learns it at its next wait, since its bytes may have left before. A message whose receive
/// is not posted is not read: the sender's work stays pending once the socket buffers are full. Calls return at once
/// and may come from any one thread at a time. Labels are kept to their first 39 characters.
class Channel {
 public:
  Channel(Endpoint* endpoint, Link* link, int peer, bool sends)
      : endpoint_(endpoint), link_(link), peer_(peer), sends_(sends) {}

  /// Of a channel got from Communicator::to. `data` must stay valid and unchanged until the work is done.
  Work send(std::span<const std::byte> data, std::string_view label);
  /// Of a channel got from Communicator::from. Several may be outstanding; they fill in the order of posting.
  Work receive(std::span<std::byte> into, std::string_view label);

  [[nodiscard]] int peer() const { return peer_; }

 private:
  std::shared_ptr<WorkState> work_of(std::string_view label);

  Endpoint* endpoint_;
  Link* link_;
  int peer_;
  bool sends_;
  std::vector<std::shared_ptr<WorkState>> works_;  // used again when nobody else holds them
  std::size_t next_work_ = 0;
};

}  // namespace motley

#pragma once

#include <memory>
#include <string>

namespace motley {

struct WorkState;

/// One stream of messages between this rank and a peer, first in, first out in each direction; a transport implements
/// it. Every call but send_at_once comes from the owner thread.
class Link {
 public:
  Link() = default;
  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// From the thread that asks for the transfer, without waking the owner thread: lets go of the message what leaves
  /// without waiting. True: that was all, and the work is complete. False: the owner thread is to `send` it.
  [[nodiscard]] virtual bool send_at_once(WorkState& /*work*/) { return false; }
  virtual void send(std::shared_ptr<WorkState> work) = 0;
  virtual void receive(std::shared_ptr<WorkState> work) = 0;
  /// The peer said goodbye: nothing more will come than what is on its way.
  virtual void peer_finished() = 0;
  /// Stops using every buffer, then fails what is pending and all that follows.
  virtual void fail(const std::string& reason) = 0;
};

}  // namespace motley

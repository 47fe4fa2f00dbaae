#pragma once

#include <mpi.h>

#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "motley/comm/detail/link.h"
#include "motley/comm/detail/pacer.h"
#include "motley/comm/detail/transport.h"
#include "motley/comm/detail/wire.h"

namespace motley {

class Endpoint;
class MpiLink;

/// Moves the MPI links on: tests their requests every 200 us while one is pending, for MPI has no way to be woken by.
/// The owner thread alone calls MPI while the communicator lives.
class MpiTransport final : public Transport {
 public:
  /// Collective over MPI_COMM_WORLD. From the working thread.
  explicit MpiTransport(Endpoint& endpoint);

  [[nodiscard]] std::unique_ptr<Link> open(int peer, std::uint32_t stream, std::uint64_t members) override;
  void close() override;

  /// On the owner thread: `link` has something pending.
  void attend(MpiLink& link);
  [[nodiscard]] MPI_Comm comm() const { return comm_; }

 private:
  void poll();
  void poll_later();

  Endpoint& endpoint_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  boost::asio::steady_timer timer_;
  bool waiting_ = false;    ///< for the timer
  bool advancing_ = false;  ///< a link is; it may call attend
  std::vector<MpiLink*> busy_;
};

/// A stream over MPI: header and payload are two messages of one tag, posted together at either end. A message held
/// back on an emulated link is followed by an empty one of the next tag that releases it.
class MpiLink final : public Link {
 public:
  MpiLink(Endpoint& endpoint, MpiTransport& transport, int peer, std::uint32_t stream);

  void send(std::shared_ptr<WorkState> work) override;
  void receive(std::shared_ptr<WorkState> work) override;
  void peer_finished() override {}
  void fail(const std::string& reason) override;

  /// Tests what is pending; false when nothing is left.
  bool advance();

 private:
  struct Outgoing {
    std::shared_ptr<WorkState> work;
    MessageHeader header;
    Pacer::Slot slot;
    bool paced = false;
    bool posted = false;
    bool sent = false;
    bool releasing = false;
    MPI_Request header_request = MPI_REQUEST_NULL;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Request release_request = MPI_REQUEST_NULL;
  };
  struct Incoming {
    std::shared_ptr<WorkState> work;
    MessageHeader header;
    bool header_here = false;
    bool waits_for_release = false;
    MPI_Request header_request = MPI_REQUEST_NULL;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Request release_request = MPI_REQUEST_NULL;
  };

  [[nodiscard]] bool send_moved_on();
  [[nodiscard]] bool receive_moved_on();
  [[nodiscard]] bool complete(MPI_Request& request);

  Endpoint& endpoint_;
  MpiTransport& transport_;
  int peer_;
  int tag_;
  // Deques, since MPI keeps the addresses of headers.
  std::deque<Outgoing> sends_;
  std::deque<Incoming> receives_;
  bool failed_ = false;
  std::string failure_;
};

}  // namespace motley

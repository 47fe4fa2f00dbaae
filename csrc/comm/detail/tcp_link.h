#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "motley/comm/detail/link.h"
#include "motley/comm/detail/pacer.h"
#include "motley/comm/detail/ring.h"
#include "motley/comm/detail/transport.h"
#include "motley/comm/detail/wire.h"

namespace motley {

class Endpoint;
class Gate;

/// A stream over one TCP connection, used in both directions at once. A message is header, payload and, when it was
/// held back on an emulated link, one byte that releases it. Header and payload leave in one gathered write and arrive
/// by one scattered read straight in the posted buffer; without a posted receive nothing is read. What the socket takes
/// at once is written by the thread that sends: on a busy core the owner thread may have to wait for its turn.
class TcpLink final : public Link {
 public:
  TcpLink(Endpoint& endpoint, int peer, boost::asio::ip::tcp::socket socket);

  [[nodiscard]] bool send_at_once(WorkState& work) override;
  void send(std::shared_ptr<WorkState> work) override;
  void receive(std::shared_ptr<WorkState> work) override;
  void peer_finished() override;
  void fail(const std::string& reason) override;

 private:
  struct Outgoing {
    std::shared_ptr<WorkState> work;
    Pacer::Slot slot;
    bool paced = false;
  };

  void start_sending();
  void write_message();
  void write_some();
  void release();
  void finish_sending();
  void start_reading();
  void wake_at(std::size_t bytes);
  void read_some();
  void check_header();
  void finish_reading();
  void broken(const std::string& how);

  Endpoint& endpoint_;
  int peer_;
  boost::asio::ip::tcp::socket socket_;
  std::mutex closing_;  ///< between closing the socket and writing by another thread
  boost::asio::steady_timer pace_timer_;
  boost::asio::steady_timer verdict_timer_;
  Ring<Outgoing> sends_;
  Ring<std::shared_ptr<WorkState>> receives_;
  MessageHeader out_header_;
  MessageHeader in_header_;
  std::size_t out_done_ = 0;
  // Of send_at_once. The owner thread looks at out_ahead_ when it is handed the message that this much of has left.
  std::int64_t handed_over_ = 0;
  std::size_t out_ahead_ = 0;
  std::atomic<std::int64_t> finished_sends_{0};  ///< by the owner thread
  std::size_t in_done_ = 0;
  std::size_t wakes_at_ = 1;  // bytes
  bool header_checked_ = false;
  char out_release_ = 0;
  char in_release_ = 0;
  bool broken_ = false;
  bool peer_finished_ = false;
  bool failed_ = false;
  std::string how_broken_;
  std::string failure_;
};

/// Opens TcpLinks through the rank's gate.
class TcpTransport final : public Transport {
 public:
  TcpTransport(Endpoint& endpoint, Gate& gate) : endpoint_(endpoint), gate_(gate) {}
  [[nodiscard]] std::unique_ptr<Link> open(int peer, std::uint32_t stream, std::uint64_t members) override;

 private:
  Endpoint& endpoint_;
  Gate& gate_;
};

}  // namespace motley

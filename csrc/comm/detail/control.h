#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/comm/detail/diagnosis.h"
#include "motley/comm/detail/wire.h"

namespace motley {

class Endpoint;

struct ControlSocket {
  int peer = 0;
  boost::asio::ip::tcp::socket socket;
};

/// The connections over which ranks tell each other that they live, what they do, that they leave, or why the run ends.
/// One to every other rank, all on the owner thread. A heartbeat goes out ten times per deadline; a rank that closes
/// without goodbye or stays silent for 0.7 of the deadline ends the run.
class Control {
 public:
  Control(Endpoint& endpoint, std::vector<ControlSocket> sockets);

  void start();
  /// Says goodbye; calls `done` once everyone has seen it (`for_all`: has said goodbye too), or the run has failed.
  void leave(bool for_all, std::function<void()> done);
  /// Tells the others why the run ends. The first call counts.
  void tell_failure(const std::string& cause, bool by_input);
  /// Calls `done` once nothing is left to write.
  void flush(std::function<void()> done);
  void close();

  [[nodiscard]] bool finished(int peer) const;
  /// What is known of every rank, by rank.
  [[nodiscard]] std::vector<RankView> views() const;

 private:
  struct Peer {
    Peer(int number, boost::asio::ip::tcp::socket connection) : rank(number), socket(std::move(connection)) {}
    int rank;
    boost::asio::ip::tcp::socket socket;
    ControlHeader header;
    std::vector<char> body;
    std::deque<std::string> out;
    Heartbeat beat;
    Seconds heard{};
    bool finished = false;      ///< said goodbye
    bool goodbye_seen = false;  ///< has seen ours
    bool broken = false;
  };

  void tick();
  void read(Peer& peer);
  void handle(Peer& peer);
  void write(Peer& peer, ControlKind kind, const void* body, std::size_t length);
  void write_next(Peer& peer);
  void end_of(Peer& peer, const std::string& how);
  void lose(Peer& peer, const std::string& how);
  void answer_waiting();

  Endpoint& endpoint_;
  std::vector<std::unique_ptr<Peer>> peers_;
  boost::asio::steady_timer timer_;
  Seconds interval_;
  Seconds early_{0.05};  // until the next tick, doubled up to interval_: what a rank does is known soon after the start
  Seconds last_tick_{};
  bool leaving_for_all_ = false;
  bool closed_ = false;
  std::function<void()> on_left_;
  std::function<void()> on_flushed_;
};

}  // namespace motley

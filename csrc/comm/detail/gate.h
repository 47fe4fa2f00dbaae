#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "motley/comm/detail/wire.h"

namespace motley {

class Endpoint;

/// Where a rank can be reached: exchanged as bytes.
struct HostAddress {
  static constexpr std::size_t kMost = 16;

  struct Interface {
    std::uint32_t address = 0;  ///< IPv4, network byte order
    std::uint32_t mask = 0;
  };

  std::array<char, 160> host{};  ///< the same text on two ranks: they share a loopback interface
  std::uint32_t port = 0;
  std::uint32_t count = 0;
  std::array<Interface, kMost> interfaces{};
};

/// What tells hosts apart: name, boot and network namespace.
[[nodiscard]] std::array<char, 160> host_identity();

/// The door of a rank: a listening socket, and the way to the doors of the others.
///
/// Of two ranks the higher connects to the lower. A connection opens with a Hello that proves it belongs to this run;
/// what does not is closed, so that neither a port scan nor another host with the same private address is taken for a
/// rank.
class Gate {
 public:
  /// `loopback_only`: all ranks are on this host. `address`: "" or the IPv4 address to be reached at. Throws InputError
  /// for an address that this host does not have.
  Gate(Endpoint& endpoint, const RunToken& token, bool loopback_only, const std::string& address);

  [[nodiscard]] const HostAddress& address() const { return address_; }
  /// By rank. Then connections may be opened and are let in.
  void start(std::vector<HostAddress> ranks);

  /// The connection number `stream` between this rank and `peer`, which opens the same. Called from a working thread;
  /// throws CommError when the peer cannot be reached or does not come within the deadline.
  [[nodiscard]] boost::asio::ip::tcp::socket open(int peer, std::uint32_t stream, std::uint64_t members);

  /// On the owner thread: lets nobody in any more.
  void close();

 private:
  struct Visitor;
  struct Arrival {
    boost::asio::ip::tcp::socket socket;
    std::uint64_t members;
  };

  void accept();
  void let_in(const std::shared_ptr<Visitor>& visitor);
  [[nodiscard]] boost::asio::ip::tcp::socket reach(int peer, std::uint32_t stream, std::uint64_t members);
  [[nodiscard]] boost::asio::ip::tcp::socket take(int peer, std::uint32_t stream, std::uint64_t members);
  [[nodiscard]] std::vector<std::uint32_t> ways_to(const HostAddress& other) const;

  Endpoint& endpoint_;
  RunToken token_;
  HostAddress address_;
  std::vector<HostAddress> ranks_;
  boost::asio::ip::tcp::acceptor acceptor_;
  bool closed_ = false;

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::pair<int, std::uint32_t>, Arrival> arrivals_;
};

}  // namespace motley

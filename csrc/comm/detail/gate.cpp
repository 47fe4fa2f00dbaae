#include "motley/comm/detail/gate.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "motley/base/host_name.h"
#include "motley/comm/comm_error.h"
#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/endpoint.h"

namespace motley {
namespace {

using boost::asio::ip::tcp;

// One try at one address; the deadline holds for all together.
constexpr Seconds kOneTry{2.0};
constexpr Seconds kBetweenTries{0.05};
constexpr Seconds kWatchFailure{0.05};

std::string dotted(std::uint32_t address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  inet_ntop(AF_INET, &address, text.data(), text.size());
  return text.data();
}

std::vector<HostAddress::Interface> interfaces_of_this_host() {
  std::vector<HostAddress::Interface> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const bool usable = entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == AF_INET &&
                        (entry->ifa_flags & IFF_UP) != 0 && (entry->ifa_flags & IFF_LOOPBACK) == 0;
    if (!usable) continue;
    const auto& address = *reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    const auto* mask = reinterpret_cast<const sockaddr_in*>(entry->ifa_netmask);
    found.push_back({address.sin_addr.s_addr, mask != nullptr ? mask->sin_addr.s_addr : ~std::uint32_t{0}});
  }
  freeifaddrs(list);
  return found;
}

/// A socket that closes itself until it is given away.
class RawSocket {
 public:
  RawSocket() : handle_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}
  ~RawSocket() {
    if (handle_ >= 0) ::close(handle_);
  }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  [[nodiscard]] int get() const { return handle_; }
  [[nodiscard]] int release() { return std::exchange(handle_, -1); }

  /// 0 once `events` holds, else the error.
  [[nodiscard]] int wait(short events, Seconds until) const {
    while (true) {
      const double left = (until - steady_now()).value;
      if (left <= 0) return ETIMEDOUT;
      pollfd entry{handle_, events, 0};
      const int ready = ::poll(&entry, 1, static_cast<int>(left * 1e3) + 1);
      if (ready > 0) return 0;
      if (ready < 0 && errno != EINTR) return errno;
    }
  }

 private:
  int handle_;
};

/// Connects, says hello and waits for the welcome; 0 or the error.
int try_to_reach(RawSocket& socket, std::uint32_t address, std::uint32_t port, const Hello& hello, Seconds until) {
  if (socket.get() < 0) return errno;
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_addr.s_addr = address;
  target.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0) {
    if (errno != EINPROGRESS) return errno;
    if (const int late = socket.wait(POLLOUT, until); late != 0) return late;
    int error = 0;
    socklen_t length = sizeof(error);
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
    if (error != 0) return error;
  }
  // An empty send buffer takes the few bytes of a Hello whole.
  const ssize_t sent = ::send(socket.get(), &hello, sizeof(hello), MSG_NOSIGNAL);
  if (sent < 0) return errno;
  if (sent != sizeof(hello)) return EIO;
  if (const int late = socket.wait(POLLIN, until); late != 0) return late;
  std::uint8_t answer = 0;
  const ssize_t read = ::recv(socket.get(), &answer, 1, 0);
  if (read < 0) return errno;
  return read == 1 && answer == kWelcome ? 0 : ECONNREFUSED;
}

void set_no_delay(tcp::socket& socket) {
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
}

}  // namespace

std::array<char, 160> host_identity() {
  std::array<char, 160> identity{};
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  std::array<char, 64> network{};
  [[maybe_unused]] const ssize_t length = readlink("/proc/self/ns/net", network.data(), network.size() - 1);
  const std::string text = fmt::format("{} {} {}", network.data(), boot, host_name());
  std::memcpy(identity.data(), text.data(), std::min(text.size(), identity.size() - 1));
  return identity;
}

struct Gate::Visitor {
  explicit Visitor(tcp::socket connection) : socket(std::move(connection)) {}
  tcp::socket socket;
  Hello hello;
  std::uint8_t answer = kWelcome;
};

Gate::Gate(Endpoint& endpoint, const RunToken& token, bool loopback_only, const std::string& address)
    : endpoint_(endpoint), token_(token), acceptor_(endpoint.io()) {
  address_.host = host_identity();
  boost::asio::ip::address_v4 bind_to = boost::asio::ip::address_v4::any();
  std::vector<HostAddress::Interface> interfaces;
  if (!address.empty()) {
    boost::system::error_code wrong;
    bind_to = boost::asio::ip::make_address_v4(address, wrong);
    if (wrong) throw InputError::of("address: found \"{}\", expected an IPv4 address of this host", address);
    interfaces = {{htonl(bind_to.to_uint()), ~std::uint32_t{0}}};
  } else if (loopback_only) {
    bind_to = boost::asio::ip::address_v4::loopback();
    interfaces = {{htonl(INADDR_LOOPBACK), ~std::uint32_t{0}}};
  } else {
    interfaces = interfaces_of_this_host();
  }
  address_.count = static_cast<std::uint32_t>(std::min(interfaces.size(), HostAddress::kMost));
  std::copy_n(interfaces.begin(), address_.count, address_.interfaces.begin());

  boost::system::error_code error;
  acceptor_.open(tcp::v4(), error);
  if (!error) acceptor_.bind(tcp::endpoint(bind_to, 0), error);
  if (error && !address.empty()) {
    throw InputError::of("address: found \"{}\", expected an IPv4 address of this host ({})", address, error.message());
  }
  if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) throw CommError(fmt::format("rank {} cannot listen: {}", endpoint.rank(), error.message()));
  address_.port = acceptor_.local_endpoint().port();
}

void Gate::start(std::vector<HostAddress> ranks) {
  ranks_ = std::move(ranks);
  endpoint_.post([this] { accept(); });
}

void Gate::accept() {
  acceptor_.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
    if (closed_) return;
    if (!error) {
      const auto visitor = std::make_shared<Visitor>(std::move(socket));
      boost::asio::async_read(visitor->socket, boost::asio::buffer(&visitor->hello, sizeof(Hello)),
                              [this, visitor](const boost::system::error_code& read_error, std::size_t) {
                                if (!read_error && !closed_) let_in(visitor);
                              });
    }
    accept();
  });
}

void Gate::let_in(const std::shared_ptr<Visitor>& visitor) {
  const Hello& hello = visitor->hello;
  const bool ours = hello.magic == Hello::kMagic && hello.token == token_ && hello.to == endpoint_.rank() &&
                    hello.from > hello.to && hello.from < endpoint_.size();
  if (!ours) return;
  set_no_delay(visitor->socket);
  boost::asio::async_write(
      visitor->socket, boost::asio::buffer(&visitor->answer, 1),
      [this, visitor](const boost::system::error_code& error, std::size_t) {
        if (error || closed_) return;
        const std::lock_guard lock(mutex_);
        const std::pair key{int{visitor->hello.from}, visitor->hello.stream};
        arrivals_.insert_or_assign(key, Arrival{std::move(visitor->socket), visitor->hello.members});
        arrived_.notify_all();
      });
}

tcp::socket Gate::open(int peer, std::uint32_t stream, std::uint64_t members) {
  return peer < endpoint_.rank() ? reach(peer, stream, members) : take(peer, stream, members);
}

tcp::socket Gate::take(int peer, std::uint32_t stream, std::uint64_t members) {
  const Seconds until = steady_now() + endpoint_.options().deadline;
  const std::pair key{peer, stream};
  std::unique_lock lock(mutex_);
  while (!arrivals_.contains(key)) {
    if (endpoint_.failed()) throw CommError(endpoint_.failure_state()->cause());
    if (steady_now() > until) {
      throw CommError(fmt::format("rank {} did not connect to rank {} within {:.1f} s", peer, endpoint_.rank(),
                                  endpoint_.options().deadline.value));
    }
    arrived_.wait_for(lock, to_duration(kWatchFailure));
  }
  Arrival arrival = std::move(arrivals_.extract(key).mapped());
  if (arrival.members != members) {
    throw CommError(fmt::format("rank {} and rank {} made a group at the same place but of different ranks", peer,
                                endpoint_.rank()));
  }
  return std::move(arrival.socket);
}

std::vector<std::uint32_t> Gate::ways_to(const HostAddress& other) const {
  std::vector<std::uint32_t> ways;
  if (other.host == address_.host && endpoint_.options().address.empty()) ways.push_back(htonl(INADDR_LOOPBACK));
  const std::vector<HostAddress::Interface> mine = interfaces_of_this_host();
  const auto neighbour = [&mine](const HostAddress::Interface& theirs) {
    return std::any_of(mine.begin(), mine.end(), [&theirs](const HostAddress::Interface& own) {
      return (own.address & own.mask) == (theirs.address & own.mask);
    });
  };
  std::vector<HostAddress::Interface> theirs(other.interfaces.begin(), other.interfaces.begin() + other.count);
  std::stable_partition(theirs.begin(), theirs.end(), neighbour);
  for (const HostAddress::Interface& interface : theirs) {
    if (std::find(ways.begin(), ways.end(), interface.address) == ways.end()) ways.push_back(interface.address);
  }
  return ways;
}

tcp::socket Gate::reach(int peer, std::uint32_t stream, std::uint64_t members) {
  const Seconds until = steady_now() + endpoint_.options().deadline;
  const HostAddress& other = ranks_[static_cast<std::size_t>(peer)];
  const std::vector<std::uint32_t> ways = ways_to(other);
  Hello hello;
  hello.token = token_;
  hello.from = endpoint_.rank();
  hello.to = peer;
  hello.stream = stream;
  hello.members = members;
  int error = EHOSTUNREACH;
  while (true) {
    for (const std::uint32_t way : ways) {
      RawSocket raw;
      error = try_to_reach(raw, way, other.port, hello, std::min(until, steady_now() + kOneTry));
      if (error == 0) {
        tcp::socket socket(endpoint_.io());
        socket.assign(tcp::v4(), raw.release());
        set_no_delay(socket);
        return socket;
      }
    }
    if (endpoint_.failed()) throw CommError(endpoint_.failure_state()->cause());
    if (steady_now() + kBetweenTries > until) break;
    std::this_thread::sleep_for(to_duration(kBetweenTries));
  }
  std::string tried;
  for (const std::uint32_t way : ways)
    tried += fmt::format("{}{}:{}", tried.empty() ? "" : ", ", dotted(way), other.port);
  throw CommError(fmt::format("rank {} could not reach rank {} at {} within {:.1f} s ({})", endpoint_.rank(), peer,
                              tried.empty() ? "no address" : tried, endpoint_.options().deadline.value,
                              std::error_code(error, std::generic_category()).message()));
}

void Gate::close() {
  closed_ = true;
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  const std::lock_guard lock(mutex_);
  arrivals_.clear();
}

}  // namespace motley

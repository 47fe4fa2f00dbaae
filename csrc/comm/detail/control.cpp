#include "motley/comm/detail/control.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cstring>
#include <utility>

#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/endpoint.h"

namespace motley {
namespace {

constexpr double kBeatsPerDeadline = 10.0;
constexpr double kSilenceOfDeadline = 0.7;
constexpr double kBeatsUntilSilent = 3.5;
// A peer that stopped reading gets no more heartbeats than this queued up.
constexpr std::size_t kMostQueued = 16;

}  // namespace

Control::Control(Endpoint& endpoint, std::vector<ControlSocket> sockets)
    : endpoint_(endpoint), timer_(endpoint.io()), interval_(endpoint.options().longest_silence() / kBeatsPerDeadline) {
  for (ControlSocket& connection : sockets) {
    peers_.push_back(std::make_unique<Peer>(connection.peer, std::move(connection.socket)));
    peers_.back()->beat.action = Label("start-up");
  }
}

void Control::start() {
  last_tick_ = steady_now();
  for (const auto& peer : peers_) {
    peer->heard = last_tick_;
    read(*peer);
  }
  if (!peers_.empty()) tick();
}

void Control::tick() {
  if (closed_ || endpoint_.failed()) return;
  const Seconds now = steady_now();
  // When this process was itself stopped, the silence of the others is its own.
  const bool overslept = now - last_tick_ > interval_ * kBeatsUntilSilent;
  last_tick_ = now;
  const Heartbeat beat = endpoint_.progress().snapshot();
  for (const auto& peer : peers_) {
    if (peer->broken || peer->finished) continue;
    if (overslept) peer->heard = now;
    const Seconds silence = now - peer->heard;
    if (silence > endpoint_.options().longest_silence() * kSilenceOfDeadline) {
      lose(*peer, fmt::format("silent for {:.1f} s: stopped or out of reach", silence.value));
      return;
    }
    if (peer->out.size() < kMostQueued) write(*peer, ControlKind::Heartbeat, &beat, sizeof(beat));
  }
  timer_.expires_after(to_duration(std::min(early_, interval_)));
  early_ = early_ * 2.0;
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

void Control::read(Peer& peer) {
  boost::asio::async_read(peer.socket, boost::asio::buffer(&peer.header, sizeof(peer.header)),
                          [this, &peer](const boost::system::error_code& error, std::size_t) {
                            if (closed_) return;
                            if (error) return end_of(peer, "connection closed");
                            if (peer.header.length > kLongestControlBody) return end_of(peer, "it spoke nonsense");
                            peer.body.resize(peer.header.length);
                            boost::asio::async_read(
                                peer.socket, boost::asio::buffer(peer.body),
                                [this, &peer](const boost::system::error_code& body_error, std::size_t) {
                                  if (closed_) return;
                                  if (body_error) return end_of(peer, "connection closed");
                                  handle(peer);
                                  read(peer);
                                });
                          });
}

void Control::handle(Peer& peer) {
  peer.heard = steady_now();
  switch (peer.header.kind) {
    case ControlKind::Heartbeat:
      if (peer.body.size() == sizeof(Heartbeat)) std::memcpy(&peer.beat, peer.body.data(), sizeof(Heartbeat));
      break;
    case ControlKind::Lost: {
      std::int32_t lost = -1;
      if (peer.body.size() == sizeof(lost)) std::memcpy(&lost, peer.body.data(), sizeof(lost));
      endpoint_.failure_state()->note_lost(lost);
      break;
    }
    case ControlKind::ByInput:
      if (!endpoint_.failed()) endpoint_.failure_state()->note_input();
      break;
    case ControlKind::Abort:
      endpoint_.fail(std::string(peer.body.begin(), peer.body.end()));
      break;
    case ControlKind::Goodbye:
      peer.finished = true;
      write(peer, ControlKind::GoodbyeSeen, nullptr, 0);
      endpoint_.peer_finished(peer.rank);
      break;
    case ControlKind::GoodbyeSeen:
      peer.goodbye_seen = true;
      break;
  }
  answer_waiting();
}

void Control::write(Peer& peer, ControlKind kind, const void* body, std::size_t length) {
  if (peer.broken || closed_) return;
  const ControlHeader header{kind, static_cast<std::uint32_t>(length)};
  std::string frame(sizeof(header) + length, '\0');
  std::memcpy(frame.data(), &header, sizeof(header));
  if (length > 0) std::memcpy(frame.data() + sizeof(header), body, length);
  peer.out.push_back(std::move(frame));
  if (peer.out.size() == 1) write_next(peer);
}

void Control::write_next(Peer& peer) {
  boost::asio::async_write(peer.socket, boost::asio::buffer(peer.out.front()),
                           [this, &peer](const boost::system::error_code& error, std::size_t) {
                             if (closed_) return;
                             peer.out.pop_front();
                             // The reading side says what happened, after what the peer may still have told.
                             if (error || peer.broken) peer.out.clear();
                             if (!peer.out.empty()) return write_next(peer);
                             answer_waiting();
                           });
}

void Control::end_of(Peer& peer, const std::string& how) {
  peer.broken = true;
  lose(peer, how);
}

void Control::lose(Peer& peer, const std::string& how) {
  if (!peer.finished && !endpoint_.failed()) {
    endpoint_.failure_state()->note_lost(peer.rank);
    // The lost one too, should it wake again: it has nothing to add.
    const std::int32_t lost = peer.rank;
    for (const auto& other : peers_) {
      if (!other->finished) write(*other, ControlKind::Lost, &lost, sizeof(lost));
    }
    endpoint_.fail(explain_lost(peer.rank, how, peer.beat, endpoint_.rank(), endpoint_.progress().snapshot()));
  }
  answer_waiting();
}

void Control::leave(bool for_all, std::function<void()> done) {
  leaving_for_all_ = for_all;
  on_left_ = std::move(done);
  for (const auto& peer : peers_) write(*peer, ControlKind::Goodbye, nullptr, 0);
  answer_waiting();
}

void Control::tell_failure(const std::string& cause, bool by_input) {
  const std::size_t length = std::min<std::size_t>(cause.size(), kLongestControlBody);
  for (const auto& peer : peers_) {
    if (peer->finished) continue;
    if (by_input) write(*peer, ControlKind::ByInput, nullptr, 0);
    write(*peer, ControlKind::Abort, cause.data(), length);
  }
  answer_waiting();
}

void Control::flush(std::function<void()> done) {
  on_flushed_ = std::move(done);
  answer_waiting();
}

void Control::answer_waiting() {
  if (on_left_) {
    const bool left = std::all_of(peers_.begin(), peers_.end(), [this](const auto& peer) {
      const bool gone = peer->finished || (peer->goodbye_seen && !leaving_for_all_);
      return peer->broken || (peer->out.empty() && gone);
    });
    if (left || endpoint_.failed()) std::exchange(on_left_, nullptr)();
  }
  if (on_flushed_) {
    const bool flushed =
        std::all_of(peers_.begin(), peers_.end(), [](const auto& peer) { return peer->broken || peer->out.empty(); });
    if (flushed) std::exchange(on_flushed_, nullptr)();
  }
}

void Control::close() {
  closed_ = true;
  timer_.cancel();
  for (const auto& peer : peers_) {
    boost::system::error_code ignored;
    peer->socket.close(ignored);
  }
}

bool Control::finished(int peer) const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [peer](const auto& known) { return known->rank == peer && known->finished; });
}

std::vector<RankView> Control::views() const {
  const Seconds now = steady_now();
  std::vector<RankView> views(static_cast<std::size_t>(endpoint_.size()));
  for (const auto& peer : peers_) {
    RankView& view = views[static_cast<std::size_t>(peer->rank)];
    view.beat = peer->beat;
    view.silent_for = now - peer->heard;
    view.silent = view.silent_for > interval_ * kBeatsUntilSilent;
    view.finished = peer->finished;
    view.beat.action_seconds += view.silent_for.value;
    view.beat.wait_seconds += view.silent_for.value;
  }
  return views;
}

}  // namespace motley

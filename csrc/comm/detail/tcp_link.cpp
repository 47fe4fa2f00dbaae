#include "motley/comm/detail/tcp_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <utility>

#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/endpoint.h"
#include "motley/comm/detail/gate.h"
#include "motley/comm/detail/mismatch.h"

namespace motley {
namespace {

constexpr std::size_t kHeader = sizeof(MessageHeader);
// One turn of the loop moves at most this much of one message, so that others and the heartbeats get theirs.
constexpr std::size_t kTurn = std::size_t{1} << 20;
// The rest of a message wakes this thread no more often than when so much of it has come: seldom, since that takes time
// from what computes on the same core, but often enough to tell a slow link from a peer that is late.
constexpr std::size_t kAtOnce = std::size_t{1} << 17;

/// What is left of header and payload after `done` bytes, at most a turn.
template <typename Buffer, typename Header, typename Payload>
std::array<Buffer, 2> rest(Header* header, Payload* payload, std::size_t size, std::size_t done) {
  if (done < kHeader) {
    return {Buffer(reinterpret_cast<Payload*>(header) + done, kHeader - done), Buffer(payload, std::min(size, kTurn))};
  }
  const std::size_t offset = done - kHeader;
  return {Buffer(payload + offset, std::min(size - offset, kTurn)), Buffer()};
}

MessageHeader header_of(const WorkState& work) {
  MessageHeader header;
  header.kind = work.kind;
  header.size = work.data.size();
  header.label = work.label;
  return header;
}

}  // namespace

TcpLink::TcpLink(Endpoint& endpoint, int peer, boost::asio::ip::tcp::socket socket)
    : endpoint_(endpoint),
      peer_(peer),
      socket_(std::move(socket)),
      pace_timer_(endpoint.io()),
      verdict_timer_(endpoint.io()) {
  socket_.non_blocking(true);  // for send_at_once
}

bool TcpLink::send_at_once(WorkState& work) {
  // What the owner thread was handed goes first, and it alone keeps the pace of an emulated link.
  if (handed_over_ > finished_sends_.load(std::memory_order_acquire) || endpoint_.pacer_to(peer_) != nullptr) {
    ++handed_over_;
    return false;
  }
  const MessageHeader header = header_of(work);
  const auto all = rest<boost::asio::const_buffer>(&header, work.data.data(), work.data.size(), 0);
  const Seconds begun = steady_now();
  std::size_t written = 0;
  {
    const std::lock_guard lock(closing_);
    boost::system::error_code error;  // the owner thread will meet it too
    if (!failed_) written = socket_.write_some(all, error);
  }
  if (written > 0) {
    work.started = begun;
    endpoint_.note_activity(peer_, begun);
  }
  if (written < kHeader + work.data.size()) {
    out_ahead_ = written;
    ++handed_over_;
    return false;
  }
  endpoint_.count_sent(peer_, work.data.size());
  work.complete(steady_now());
  return true;
}

void TcpLink::send(std::shared_ptr<WorkState> work) {
  if (failed_) return work->fail(failure_);
  Outgoing outgoing{std::move(work), {}, false};
  if (Pacer* pacer = endpoint_.pacer_to(peer_)) {
    outgoing.work->on_link = true;
    outgoing.slot = pacer->reserve(outgoing.work->posted, {static_cast<std::int64_t>(outgoing.work->data.size())});
    outgoing.paced = true;
    // The wait for the link is no lateness of the peer's.
    endpoint_.note_activity(peer_, outgoing.slot.end);
  }
  sends_.push_back(std::move(outgoing));
  if (sends_.size() == 1) start_sending();
}

void TcpLink::start_sending() {
  if (broken_) return;
  const Outgoing& outgoing = sends_.front();
  out_header_ = header_of(*outgoing.work);
  out_done_ = std::exchange(out_ahead_, 0);
  if (!outgoing.paced) {
    if (out_done_ == 0) outgoing.work->started = steady_now();
    return write_some();
  }
  outgoing.work->started = outgoing.slot.begin;
  if (outgoing.slot.begin <= steady_now()) return write_message();
  pace_timer_.expires_at(to_time_point(outgoing.slot.begin));
  pace_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && !failed_) write_message();
  });
}

void TcpLink::write_message() {
  // At least the smallest number, since it also says that a release will follow.
  out_header_.hold = std::max((sends_.front().slot.end - steady_now()).value, 1e-9);
  write_some();
}

void TcpLink::write_some() {
  const std::span<const std::byte> data = sends_.front().work->data;
  const auto left = rest<boost::asio::const_buffer>(&std::as_const(out_header_), data.data(), data.size(), out_done_);
  socket_.async_write_some(left, [this](const boost::system::error_code& error, std::size_t written) {
    if (failed_) return;
    if (error) return broken(error.message());
    const Seconds now = steady_now();
    endpoint_.note_activity(peer_, now);
    out_done_ += written;
    const Outgoing& outgoing = sends_.front();
    if (out_done_ < kHeader + outgoing.work->data.size()) return write_some();
    if (!outgoing.paced) return finish_sending();
    if (outgoing.slot.end <= now) return release();
    pace_timer_.expires_at(to_time_point(outgoing.slot.end));
    pace_timer_.async_wait([this](const boost::system::error_code& timer_error) {
      if (!timer_error && !failed_) release();
    });
  });
}

void TcpLink::release() {
  socket_.async_write_some(boost::asio::buffer(&out_release_, 1),
                           [this](const boost::system::error_code& error, std::size_t) {
                             if (failed_) return;
                             if (error) return broken(error.message());
                             finish_sending();
                           });
}

void TcpLink::finish_sending() {
  const std::shared_ptr<WorkState> work = sends_.pop_front().work;
  endpoint_.count_sent(peer_, work->data.size());
  finished_sends_.fetch_add(1, std::memory_order_release);
  const Seconds now = steady_now();  // before the next begins, so that their times do not overlap
  if (!sends_.empty()) start_sending();
  work->complete(now);
}

void TcpLink::receive(std::shared_ptr<WorkState> work) {
  if (failed_) return work->fail(failure_);
  receives_.push_back(std::move(work));
  if (receives_.size() == 1) start_reading();
}

void TcpLink::start_reading() {
  if (broken_) return broken(how_broken_);
  in_done_ = 0;
  header_checked_ = false;
  read_some();
}

void TcpLink::wake_at(std::size_t bytes) {
  if (bytes == wakes_at_) return;
  wakes_at_ = bytes;
  const auto least = static_cast<int>(bytes);
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::socket_base::receive_low_watermark(least), ignored);
}

void TcpLink::read_some() {
  // The payload is read together with the header, before its size is known to agree: when it does not, the run fails
  // anyway.
  const std::span<std::byte> into = receives_.front()->into;
  const auto left = rest<boost::asio::mutable_buffer>(&in_header_, into.data(), into.size(), in_done_);
  socket_.async_read_some(left, [this](const boost::system::error_code& error, std::size_t read) {
    if (failed_) return;
    if (error) return broken(error == boost::asio::error::eof ? "connection closed" : error.message());
    const Seconds now = steady_now();
    endpoint_.note_activity(peer_, now);
    if (in_done_ == 0) receives_.front()->started = now;
    in_done_ += read;
    if (in_done_ >= kHeader && !header_checked_) {
      check_header();
      if (failed_) return;
    }
    if (const std::size_t size = kHeader + receives_.front()->into.size(); in_done_ < size) {
      wake_at(std::min(size - in_done_, kAtOnce));
      return read_some();
    }
    wake_at(1);
    if (in_header_.hold <= 0.0) return finish_reading();
    socket_.async_read_some(boost::asio::buffer(&in_release_, 1),
                            [this](const boost::system::error_code& release_error, std::size_t) {
                              if (failed_) return;
                              if (release_error) return broken(release_error.message());
                              finish_reading();
                            });
  });
}

void TcpLink::check_header() {
  header_checked_ = true;
  const WorkState& work = *receives_.front();
  if (in_header_.magic != MessageHeader::kMagic) {
    return endpoint_.fail(fmt::format("rank {} got something that is no message from rank {} while it expected {}",
                                      endpoint_.rank(), peer_, work.label.view()));
  }
  if (const std::string wrong = mismatch(in_header_, work, peer_, endpoint_.rank()); !wrong.empty()) {
    return endpoint_.fail(wrong);
  }
  receives_.front()->on_link = in_header_.hold <= 0.0;
  if (in_header_.hold > 0.0) endpoint_.note_activity(peer_, steady_now() + Seconds{in_header_.hold});
}

void TcpLink::finish_reading() {
  const std::shared_ptr<WorkState> work = receives_.pop_front();
  endpoint_.count_received(peer_, work->into.size());
  const Seconds now = steady_now();
  if (!receives_.empty()) start_reading();
  work->complete(now);
}

void TcpLink::broken(const std::string& how) {
  broken_ = true;
  how_broken_ = how;
  const bool pending = !receives_.empty() || !sends_.empty();
  if (peer_finished_) {
    if (!pending) return;
    const WorkState& work = receives_.empty() ? *sends_.front().work : *receives_.front();
    return endpoint_.fail(fmt::format("rank {} finished while rank {} still had {} pending with it", peer_,
                                      endpoint_.rank(), work.label.view()));
  }
  // The control connection knows whether the peer died, failed or left. It will speak soon; should it not, this
  // connection alone is broken.
  verdict_timer_.expires_after(to_duration(endpoint_.options().deadline * 0.1));
  verdict_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error || failed_ || peer_finished_) return;
    endpoint_.fail(
        fmt::format("the connection between rank {} and rank {} broke: {}", endpoint_.rank(), peer_, how_broken_));
  });
}

void TcpLink::peer_finished() {
  peer_finished_ = true;
  if (broken_) broken(how_broken_);
}

void TcpLink::fail(const std::string& reason) {
  if (failed_) return;
  failure_ = reason;
  {
    const std::lock_guard lock(closing_);
    failed_ = true;
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  pace_timer_.cancel();
  verdict_timer_.cancel();
  while (!sends_.empty()) sends_.pop_front().work->fail(reason);
  while (!receives_.empty()) receives_.pop_front()->fail(reason);
}

std::unique_ptr<Link> TcpTransport::open(int peer, std::uint32_t stream, std::uint64_t members) {
  return std::make_unique<TcpLink>(endpoint_, peer, gate_.open(peer, stream, members));
}

}  // namespace motley

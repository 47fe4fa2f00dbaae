#include "motley/comm/detail/endpoint.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <exception>
#include <future>

#include "motley/comm/comm_error.h"
#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/control.h"
#include "motley/comm/detail/diagnosis.h"
#include "motley/comm/detail/gate.h"

namespace motley {
namespace {

// How long a failed rank tries to tell the others before it leaves.
constexpr Seconds kFarewell{0.3};

Seconds cpu_time(std::thread& thread) {
  clockid_t clock{};
  timespec time{};
  if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0 || clock_gettime(clock, &time) != 0) return {};
  return {static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9};
}

void check(const CommOptions& options, int size) {
  if (options.transport != "tcp" && options.transport != "mpi") {
    throw InputError::of("transport: found \"{}\", expected \"tcp\" or \"mpi\"", options.transport);
  }
  if (!(options.deadline.value > 0.0)) {
    throw InputError::of("deadline: found {} s, expected more than 0", options.deadline.value);
  }
  for (const CommOptions::LinkRate& link : options.emulated_links) {
    const bool known = link.from >= 0 && link.from < size && link.to >= 0 && link.to < size && link.from != link.to;
    if (!known) {
      throw InputError::of("emulated link from rank {} to rank {}: expected two different ranks below {}", link.from,
                           link.to, size);
    }
    if (!(link.rate.value >= 0.0) || !(link.latency.value >= 0.0)) {
      throw InputError::of("emulated link from rank {} to rank {}: found {} bytes/s and {} s, expected none below 0",
                           link.from, link.to, link.rate.value, link.latency.value);
    }
  }
}

}  // namespace

Endpoint::Endpoint(int rank, int size, CommOptions options)
    : rank_(rank),
      size_(size),
      options_(std::move(options)),
      traffic_(static_cast<std::size_t>(size)),
      pacers_(static_cast<std::size_t>(size)),
      next_stream_(static_cast<std::size_t>(size), 1),
      work_guard_(boost::asio::make_work_guard(io_)) {
  check(options_, size_);
  for (const CommOptions::LinkRate& link : options_.emulated_links) {
    if (link.from == rank_) pacers_[static_cast<std::size_t>(link.to)].emplace(link.rate, link.latency);
  }
  // The owner thread takes no signal of the program's.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  owner_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "motley-comm");
    run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Endpoint::run() {
  while (true) {
    try {
      io_.run();
      return;
    } catch (const std::exception& error) {
      // No memory for a reduction, say. The loop goes on, to tell the others.
      fail(fmt::format("rank {} ended the run: its communication failed: {}", rank_, error.what()));
    }
  }
}

Endpoint::~Endpoint() {
  close(false, std::uncaught_exceptions() > 0);
}

void Endpoint::join(std::unique_ptr<Gate> gate, std::unique_ptr<Transport> transport) {
  gate_ = std::move(gate);
  transport_ = std::move(transport);
  std::vector<ControlSocket> sockets;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) sockets.push_back({peer, gate_->open(peer, 0, 0)});
  }
  auto control = std::make_unique<Control>(*this, std::move(sockets));
  std::promise<void> started;
  post([this, &control, &started] {
    control_ = std::move(control);
    control_->start();
    started.set_value();
  });
  started.get_future().wait();
  joined_ = true;
}

Link& Endpoint::open_link(int peer, std::uint64_t members) {
  std::unique_ptr<Link> link = transport_->open(peer, next_stream_[static_cast<std::size_t>(peer)]++, members);
  Link& opened = *link;
  // Works are posted after this, so they find the link in place.
  post([this, peer, link = std::move(link)]() mutable {
    if (stopped_) link->fail(*stopped_);
    links_.push_back({peer, std::move(link)});
    if (control_->finished(peer)) links_.back().link->peer_finished();
  });
  return opened;
}

std::shared_ptr<WorkState> Endpoint::new_work(std::string_view label, int peer, MessageKind kind) {
  auto work = std::make_shared<WorkState>();
  work->endpoint = shared_from_this();
  work->begin(label, peer, kind);
  return work;
}

void Endpoint::submit(Submission submission) {
  if (submission.sends && submission.link->send_at_once(*submission.work)) return;
  const std::lock_guard lock(submitted_mutex_);
  submitted_.push_back(std::move(submission));
  // Whoever comes first wakes the owner thread, which takes all that has come until then.
  if (submitted_.size() == 1) post(Drain{this});
}

void Endpoint::drain() {
  {
    const std::lock_guard lock(submitted_mutex_);
    taken_.swap(submitted_);
  }
  for (Submission& submission : taken_) {
    if (submission.sends) {
      submission.link->send(std::move(submission.work));
    } else {
      submission.link->receive(std::move(submission.work));
    }
  }
  taken_.clear();
}

void Endpoint::ask_owner(Seconds patience, std::function<void(std::function<void()>)> start) {
  const auto answered = std::make_shared<std::promise<void>>();
  std::future<void> answer = answered->get_future();
  post([start = std::move(start), answered] { start([answered] { answered->set_value(); }); });
  answer.wait_for(std::chrono::duration<double>(patience.value));
}

void Endpoint::close(bool for_all, bool unwinding) {
  if (closed_) return;
  closed_ = true;
  if (joined_) {
    if (unwinding && !failed()) abort("stopped by an exception");
    if (!failed() && size_ > 1) {
      ask_owner(options_.deadline, [this, for_all](auto done) { control_->leave(for_all, std::move(done)); });
    }
    if (failed()) {
      ask_owner(kFarewell, [this](auto done) { control_->flush(std::move(done)); });
    }
  }
  post([this] {
    const std::string reason = failed() ? failure_->cause() : fmt::format("rank {} closed its communicator", rank_);
    stop_links(reason);
    if (gate_) gate_->close();
    if (control_) control_->close();
    io_.stop();
  });
  owner_cpu_at_end_ = cpu_time(owner_);
  owner_.join();
  // What was posted meanwhile still waits for its answer, which the closed links give.
  io_.restart();
  io_.poll();
  if (transport_ && joined_ && !failed()) transport_->close();
  held_.reset();
}

void Endpoint::abort(const std::string& reason, bool by_input) {
  std::promise<void> done;
  post([this, &done, by_input, cause = fmt::format("rank {} ended the run: {}", rank_, reason)] {
    if (by_input && !failed()) failure_->note_input();
    fail(cause);
    done.set_value();
  });
  done.get_future().wait();
}

void Endpoint::abort_within(Seconds patience, const std::string& reason) {
  ask_owner(patience, [this, cause = fmt::format("rank {} ended the run: {}", rank_, reason)](auto done) {
    fail(cause);
    control_->flush(std::move(done));
  });
}

void Endpoint::end_late(std::shared_ptr<const WorkState> work, Seconds waited) {
  post([this, work = std::move(work), waited] {
    if (work->settled() != WorkState::Status::Pending) return;
    fail(explain_late(rank_, work->label.view(), work->peer, waited, control_->views()));
  });
}

void Endpoint::stop_links(const std::string& reason) {
  stopped_ = reason;
  for (OpenLink& open : links_) open.link->fail(reason);
}

void Endpoint::fail(const std::string& cause) {
  if (!failure_->set(cause)) return;
  stop_links(cause);
  if (control_) control_->tell_failure(cause, failure_->by_input());
}

void Endpoint::peer_finished(int peer) {
  for (OpenLink& open : links_) {
    if (open.peer == peer) open.link->peer_finished();
  }
}

void Endpoint::end_late(std::string_view what, int peer, Seconds waited) {
  std::promise<void> done;
  post([&] {
    fail(explain_late(rank_, what, peer, waited, control_->views()));
    done.set_value();
  });
  done.get_future().wait();
}

Seconds Endpoint::last_activity(int peer) const {
  if (peer < 0) return {};
  return {traffic_[static_cast<std::size_t>(peer)].activity.load(std::memory_order_relaxed)};
}

void Endpoint::note_activity(int peer, Seconds at) {
  std::atomic<double>& activity = traffic_[static_cast<std::size_t>(peer)].activity;
  double known = activity.load(std::memory_order_relaxed);
  while (known < at.value && !activity.compare_exchange_weak(known, at.value, std::memory_order_relaxed)) {
  }
}

void Endpoint::count_sent(int peer, std::size_t bytes) {
  Traffic& traffic = traffic_[static_cast<std::size_t>(peer)];
  traffic.messages_sent.fetch_add(1, std::memory_order_relaxed);
  traffic.sent.fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
}

void Endpoint::count_received(int peer, std::size_t bytes) {
  Traffic& traffic = traffic_[static_cast<std::size_t>(peer)];
  traffic.messages_received.fetch_add(1, std::memory_order_relaxed);
  traffic.received.fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
}

Pacer* Endpoint::pacer_to(int peer) {
  std::optional<Pacer>& pacer = pacers_[static_cast<std::size_t>(peer)];
  return pacer ? &*pacer : nullptr;
}

CommStatistics Endpoint::statistics() const {
  CommStatistics statistics;
  for (const Traffic& traffic : traffic_) {
    statistics.peers.push_back({traffic.messages_sent.load(std::memory_order_relaxed),
                                traffic.messages_received.load(std::memory_order_relaxed),
                                {traffic.sent.load(std::memory_order_relaxed)},
                                {traffic.received.load(std::memory_order_relaxed)}});
  }
  statistics.owner_cpu = closed_ ? owner_cpu_at_end_ : cpu_time(const_cast<std::thread&>(owner_));
  return statistics;
}

}  // namespace motley

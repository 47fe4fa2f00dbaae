#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "motley/base/error.h"
#include "motley/base/units.h"
#include "motley/comm/communicator.h"
#include "motley/comm/detail/link.h"
#include "motley/comm/detail/pacer.h"
#include "motley/comm/detail/progress_board.h"
#include "motley/comm/detail/transport.h"
#include "motley/comm/detail/work_state.h"
#include "motley/comm/failure_state.h"
#include "motley/comm/options.h"

namespace motley {

class Control;
class Gate;

/// This rank's end of the run: the event loop and the thread that runs it, the links, and whether the run has failed.
/// Links (but for Link::send_at_once), pacers and the control connections are touched by the owner thread alone.
class Endpoint : public std::enable_shared_from_this<Endpoint> {
 public:
  /// Starts the owner thread. Throws InputError for a wrong option.
  Endpoint(int rank, int size, CommOptions options);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int local_rank() const { return local_rank_; }
  void set_local_rank(int local_rank) { local_rank_ = local_rank; }
  [[nodiscard]] const CommOptions& options() const { return options_; }
  [[nodiscard]] boost::asio::io_context& io() { return io_; }

  // From the working thread.

  /// Keeps `resource` until the endpoint has closed.
  void hold(std::shared_ptr<void> resource) { held_ = std::move(resource); }
  /// Opens the control connections through `gate`, then serves links of `transport`. Blocks until all ranks are joined.
  void join(std::unique_ptr<Gate> gate, std::unique_ptr<Transport> transport);
  /// A new stream to `peer`; `members` is the fingerprint of the ranks that share its purpose.
  Link& open_link(int peer, std::uint64_t members);
  [[nodiscard]] std::shared_ptr<WorkState> new_work(std::string_view label, int peer, MessageKind kind);
  /// A message to be started: by this thread as far as the link can, by the owner thread else. Allocates nothing in a
  /// steady state.
  struct Submission {
    Link* link;
    std::shared_ptr<WorkState> work;
    bool sends;
  };
  void submit(Submission submission);
  /// Says goodbye, or tells the others of the failure, and ends the owner thread. `for_all`: stays until everyone has
  /// said goodbye, at most the deadline. `unwinding`: an exception ends this rank.
  void close(bool for_all, bool unwinding);

  // From any thread.

  [[nodiscard]] ProgressBoard& progress() { return progress_; }
  [[nodiscard]] const std::shared_ptr<FailureState>& failure_state() const { return failure_; }
  [[nodiscard]] bool failed() const { return failure_->failed(); }
  template <typename Function>
  void post(Function&& function) {
    boost::asio::post(io_, std::forward<Function>(function));
  }
  /// Returns when the run has failed here and no buffer is touched any more. `by_input`: the user's mistake ends it.
  void abort(const std::string& reason, bool by_input = false);
  /// The same in haste, from a thread that is about to end the process: returns when the others were told, or after
  /// `patience`.
  void abort_within(Seconds patience, const std::string& reason);
  /// Ends the run because `work` was waited for in vain.
  void end_late(std::shared_ptr<const WorkState> work, Seconds waited);
  /// Ends the run because `what` of `peer` was waited for in vain. Returns when the run has failed here.
  void end_late(std::string_view what, int peer, Seconds waited);
  /// When data last moved between this rank and `peer`; it may lie ahead while an emulated link holds a message.
  [[nodiscard]] Seconds last_activity(int peer) const;
  [[nodiscard]] CommStatistics statistics() const;

  // From the owner thread.

  /// Ends the run here and tells the others. Only the first cause counts.
  void fail(const std::string& cause);
  /// Why nothing may be started any more, nor a buffer be touched; null while all is well.
  [[nodiscard]] const std::string* stopped() const { return stopped_ ? &*stopped_ : nullptr; }
  void peer_finished(int peer);
  [[nodiscard]] Pacer* pacer_to(int peer);

  // From whatever thread moves data.

  void note_activity(int peer, Seconds at);
  void count_sent(int peer, std::size_t bytes);
  void count_received(int peer, std::size_t bytes);

 private:
  struct Traffic {
    std::atomic<std::int64_t> messages_sent{0};
    std::atomic<std::int64_t> messages_received{0};
    std::atomic<std::int64_t> sent{0};
    std::atomic<std::int64_t> received{0};
    std::atomic<double> activity{0.0};
  };
  struct OpenLink {
    int peer = 0;
    std::unique_ptr<Link> link;
  };

  /// Memory for the one Drain that is posted at a time.
  template <typename Type>
  struct DrainMemory {
    using value_type = Type;
    explicit DrainMemory(Endpoint* owner) : endpoint(owner) {}
    template <typename Other>
    DrainMemory(const DrainMemory<Other>& other) : endpoint(other.endpoint) {}  // NOLINT(google-explicit-constructor)
    Type* allocate(std::size_t count) {
      MOTLEY_CHECK(count * sizeof(Type) <= sizeof(endpoint->drain_memory_), "{} bytes for a handler",
                   count * sizeof(Type));
      return reinterpret_cast<Type*>(endpoint->drain_memory_);
    }
    void deallocate(Type*, std::size_t) {}
    friend bool operator==(const DrainMemory&, const DrainMemory&) = default;
    Endpoint* endpoint;
  };
  struct Drain {
    using allocator_type = DrainMemory<void>;
    Endpoint* endpoint;
    [[nodiscard]] allocator_type get_allocator() const { return allocator_type(endpoint); }
    void operator()() const { endpoint->drain(); }
  };

  void run();
  void drain();
  void stop_links(const std::string& reason);
  /// Runs `start` on the owner thread with a callback and waits until that is called, at most `patience`.
  void ask_owner(Seconds patience, std::function<void(std::function<void()>)> start);

  std::shared_ptr<void> held_;
  int rank_;
  int size_;
  int local_rank_ = rank_;
  CommOptions options_;
  std::shared_ptr<FailureState> failure_ = std::make_shared<FailureState>();
  ProgressBoard progress_;
  std::vector<Traffic> traffic_;
  std::vector<std::optional<Pacer>> pacers_;
  std::vector<std::uint32_t> next_stream_;
  bool joined_ = false;
  bool closed_ = false;

  std::mutex submitted_mutex_;
  std::vector<Submission> submitted_;
  std::vector<Submission> taken_;  // by the owner thread
  alignas(std::max_align_t) std::byte drain_memory_[256];

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_guard_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<Control> control_;
  std::vector<OpenLink> links_;
  std::optional<std::string> stopped_;
  std::thread owner_;
  Seconds owner_cpu_at_end_{};
};

}  // namespace motley

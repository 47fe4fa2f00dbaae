#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "motley/base/units.h"
#include "motley/comm/channel.h"
#include "motley/comm/comm_error.h"
#include "motley/comm/group.h"
#include "motley/comm/options.h"
#include "motley/comm/work.h"

namespace motley {

class Endpoint;
class FailureState;

/// What a rank is doing; told to the others so that a time-out can name the culprit.
struct Progress {
  std::string action;
  bool waiting = false;
  int waiting_for = -1;  ///< rank; -1: nobody in particular
};

/// What went through a communicator so far.
struct CommStatistics {
  struct Peer {
    std::int64_t messages_sent = 0;
    std::int64_t messages_received = 0;
    Bytes sent{};  ///< payload alone
    Bytes received{};
  };
  std::vector<Peer> peers;  ///< by rank; channels and groups together
  Seconds owner_cpu{};      ///< CPU time of the thread that owns the connections
};

/// This rank's end of a run's communication. One thread of its own moves all data and never spins; only what the
/// system takes of a message at once is written by the thread that sends it.
///
/// The run fails as a whole: when a rank dies, throws, falls silent or lets another wait beyond the deadline, every
/// rank's pending and later works throw CommError with the same cause. The destructor says goodbye to the others, so
/// that leaving is no failure; when an exception is unwinding it ends the run on every rank instead. It takes at most
/// about the deadline.
class Communicator {
 public:
  explicit Communicator(std::shared_ptr<Endpoint> endpoint);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] int rank() const;
  [[nodiscard]] int size() const;
  /// Number of this rank among those of its host (MPI_Comm_split_type).
  [[nodiscard]] int local_rank() const;

  Channel& to(int peer);    ///< the edge from this rank to `peer`, another rank
  Channel& from(int peer);  ///< the edge from `peer` to this rank
  Group& world();           ///< all ranks

  /// A group of these ranks, this one among them. Collective: each of `ranks` calls it, with the same ranks, and ranks
  /// that share several groups make them in the same order. Throws CommError when one does not within the deadline.
  /// The group's connections stay until the communicator ends, which must outlive the group.
  std::unique_ptr<Group> group(std::vector<int> ranks);

  /// Says what this rank does now, for the others' messages. Allocates nothing, about 50 ns; call it for every action.
  /// Work::wait() adds by itself for whom and for what it waits, so `waiting` is only for waits of another kind.
  void set_progress(std::string_view action, bool waiting = false, int waiting_for = -1);
  void set_progress(const Progress& progress) { set_progress(progress.action, progress.waiting, progress.waiting_for); }

  /// Ends the run on every rank; each one's failure() becomes "rank R ended the run: REASON", unless it had failed
  /// before. When it returns, nothing touches a buffer of this rank's works any more: call it before an exception frees
  /// them.
  void abort(const std::string& reason);
  /// With its text. The state of failure of every rank knows whether it was an InputError.
  void abort(const std::exception& error);
  /// The same because `what` of `peer` was waited for in vain, for transfers that are not the communicator's own; says
  /// what the peer was doing.
  void end_late(std::string_view what, int peer, Seconds waited);
  /// Does as abort() from any thread, waits at most so long for the others to be told, and may be called when the
  /// communicator is gone: for SignalWatch, whose process ends then.
  [[nodiscard]] std::function<void(Seconds, const std::string&)> aborter() const;
  [[nodiscard]] bool failed() const;
  [[nodiscard]] std::string failure() const;  ///< "" while all is well
  /// Outlives the communicator; for SignalWatch.
  [[nodiscard]] std::shared_ptr<const FailureState> failure_state() const;

  [[nodiscard]] const CommOptions& options() const;
  [[nodiscard]] CommStatistics statistics() const;
  /// Seconds of the host's steady clock: comparable between ranks of one host.
  [[nodiscard]] Seconds now() const;

 private:
  std::shared_ptr<Endpoint> endpoint_;
  int exceptions_at_start_;
  std::vector<Channel> to_;
  std::vector<Channel> from_;
  std::unique_ptr<Group> world_;
};

/// Joins the processes of MPI_COMM_WORLD; every process calls it. Starts MPI when nobody did, and then ends it when the
/// process exits, unless the run failed (a failed rank would hang there: it exits and mpirun ends the others).
/// MPI carries the addresses and, with transport "mpi", the data; the caller must not use MPI from other threads
/// meanwhile. Throws InputError for a wrong option, CommError when a rank cannot be reached.
[[nodiscard]] std::unique_ptr<Communicator> connect(const CommOptions& options);

/// `size` ranks in this process, joined over loopback TCP (transport "tcp" only); each is then used by a thread of its
/// own.
[[nodiscard]] std::vector<std::unique_ptr<Communicator>> connect_in_process(int size, const CommOptions& options);

/// Of the MPI library this process runs on, e.g. "Open MPI v4.1.4". Works before MPI is started.
[[nodiscard]] std::string mpi_version();

}  // namespace motley

#pragma once

#include <string>
#include <vector>

#include "motley/base/units.h"

namespace motley {

/// How ranks talk to each other. Every rank must be given the same values, `address` apart.
struct CommOptions {
  /// "tcp": sockets owned by one event loop. "mpi": MPI_Isend and MPI_Irecv, tested every 200 us while one is pending;
  /// start-up, heartbeats and the news of a failure go over TCP with it too.
  std::string transport = "tcp";

  /// No wait lasts longer than this without data moving between the two ranks.
  Seconds deadline{10.0};

  /// A rank that shows no sign of life is given up after 0.7 of this and a heartbeat, so that mpirun has ended every
  /// rank within it; 0: the deadline. Shorter where ranks rightly wait for long, as while another one measures.
  Seconds silence{};
  [[nodiscard]] Seconds longest_silence() const { return silence.value > 0.0 ? silence : deadline; }

  /// IPv4 address of this host that the others shall use, "" = every interface, the first that answers. When all ranks
  /// are on one host and this is empty, only the loopback interface is opened.
  std::string address;

  /// A directed link kept slow by pacing: a message occupies it for latency + bytes / rate, beginning when it is posted
  /// or when the link becomes free, and is delivered no earlier than the end. Channels and groups share the link.
  struct LinkRate {
    int from = 0;
    int to = 0;
    BytesPerSecond rate{};  ///< 0: unlimited
    Seconds latency{};
  };
  std::vector<LinkRate> emulated_links;
};

}  // namespace motley

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "motley/schedule/costs.h"

namespace motley {

/// Messages that share the NICs of their hosts, as fluids with max-min fair rates.
///
/// A message that has its link for itself goes at bytes / time of that link. All messages that leave a host together go
/// at most at its NIC's sending rate, those that arrive at most at its receiving rate; what there is is shared so that
/// no message can get more without one that has less getting less yet (progressive filling: Bertsekas and Gallager,
/// "Data Networks", 6.5.2). This is what TCP flows of like round trips get in the long run, and SimGrid's validated
/// model of networks (Velho et al., 2013). Unlike first come, first served it does not depend on the order of messages
/// that start at the same moment, so equal devices stay equal.
///
/// A schedule fixes the order of actions and of a channel's messages, so sharing can only delay: no event is earlier
/// than without it. But faster links or ranks can bring two messages together that were apart before and so delay a
/// third (Graham, 1969, "Bounds on multiprocessing timing anomalies"); without shared NICs more speed never delays.
///
/// A message is named by its channel, which carries one at a time. Times in seconds from the start of the iteration;
/// events must be started and taken in order of time. start and finish: O(messages that are slowed down together), a
/// NIC that could carry all of its messages at their own rates slows nobody. Where NICs are full all the time the times
/// depend on rounding beyond the digits one would expect: each message's delay moves on to the next.
class NicSharing {
 public:
  /// `sender` and `receiver`: host by channel.
  NicSharing(std::span<const Nic> nics, std::vector<int> sender, std::vector<int> receiver);

  void start(std::size_t channel, double now_s, double bytes, double alone_s);
  /// Ends a message at the time that end() says.
  void finish(std::size_t channel);

  /// When the message ends if no other starts or ends before.
  [[nodiscard]] double end(std::size_t channel) const { return flows_[channel].end_s; }
  /// Channels whose end() the last start or finish changed, the started one included.
  [[nodiscard]] std::span<const std::size_t> changed() const { return changed_; }

 private:
  struct Flow {
    double left_bytes = 0.0;
    double since_s = 0.0;
    double rate = 0.0;
    double own_rate = 0.0;  // alone on its link
    double end_s = 0.0;
    double next_rate = 0.0;         // negative: none yet, while filling
    std::size_t port[2] = {0, 0};   // where it is sent and where it arrives
    std::size_t place[2] = {0, 0};  // in the lists of these
    bool touched = false;
  };
  /// A NIC's sending or receiving side.
  struct Port {
    double rate = 0.0;  // 0: no limit
    std::vector<std::size_t> flows;
    bool overfull = false;  // its messages would together be faster than it at their own rates
    bool touched = false;
    // While filling:
    double left = 0.0;
    std::size_t open = 0;   // flows without a rate yet
    std::size_t index = 0;  // in touched_ports_
  };

  void update(Port& port);
  void collect(const Flow& flow);
  void fix(Flow& flow, double rate);
  void share(double now_s, std::size_t started);

  std::vector<Flow> flows_;  // by channel
  std::vector<Port> ports_;  // sending sides by host, then receiving sides
  std::vector<std::size_t> touched_flows_, touched_ports_;
  std::vector<double> fair_;  // by touched port: what is left for each of its open flows
  std::vector<std::size_t> changed_;
};

}  // namespace motley

#include "motley/profiler/message_costs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "motley/base/median.h"
#include "motley/comm/abort_on_throw.h"
#include "motley/comm/gather.h"
#include "motley/plan/wire.h"
#include "motley/profiler/load.h"

namespace motley {
namespace {

constexpr std::array<std::int64_t, 2> kSizes{16'384, 262'144};
constexpr std::size_t kDirections = 2;  // sent, received
constexpr std::size_t kKinds = kSizes.size() * kDirections;
constexpr int kRepeats = 3;
constexpr int kMostMessages = 400;
constexpr int kUnderWay = 2;
constexpr double kScatter = 0.01;  // of the computing; less that messages take is not told from none

/// Messages of one size one after the other between this rank and `peer`, some of them under way.
class Flow {
 public:
  Flow(Communicator& communicator, int peer, bool sends, std::int64_t bytes, int messages)
      : communicator_(communicator), peer_(peer), sends_(sends), left_(messages) {
    for (std::vector<std::byte>& buffer : buffers_) buffer.resize(static_cast<std::size_t>(bytes));
  }

  /// Starts what may start; whether all are done.
  bool go_on() {
    bool over = true;
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      if (!works_[i].done()) {
        over = false;
        continue;
      }
      works_[i].wait();  // throws what failed it
      if (left_ == 0) continue;
      --left_;
      over = false;
      works_[i] = sends_ ? communicator_.to(peer_).send(buffers_[i], "message probe")
                         : communicator_.from(peer_).receive(buffers_[i], "message probe");
    }
    return over;
  }

  void finish() {
    while (!go_on()) {
      for (Work& work : works_) work.wait();
    }
  }

 private:
  Communicator& communicator_;
  int peer_;
  bool sends_;
  int left_;
  std::array<std::vector<std::byte>, kUnderWay> buffers_;
  std::array<Work, kUnderWay> works_;
};

/// A size and direction, as the rank whose computing is looked at sees it.
struct Kind {
  bool sends;
  std::int64_t bytes;
  int messages;
};

/// Costs of a message of each kind to this rank, with `peer` at the other end; see measure_message_costs().
std::vector<double> costs_here(Communicator& communicator, Load& load, int peer, const std::vector<Kind>& kinds,
                               Seconds span) {
  std::array<std::byte, 1> go{};
  std::array<std::byte, 1> arrived{};
  const auto undisturbed = [&] {
    const Seconds until = communicator.now() + span;
    return load.seconds_a_piece(communicator, [&] { return communicator.now() < until; });
  };
  std::vector<std::vector<double>> costs;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    std::vector<double>& of_kinds = costs.emplace_back();
    double before = undisturbed();
    for (const Kind& kind : kinds) {
      // What is sent is over when it has arrived: until then the system has work with it.
      Work end = kind.sends ? communicator.from(peer).receive(arrived, "message probe") : Work();
      Work begin = communicator.to(peer).send(go, "message probe");
      Flow flow(communicator, peer, kind.sends, kind.bytes, kind.messages);
      const Seconds start = communicator.now();
      const double disturbed = load.seconds_a_piece(communicator, [&] { return !flow.go_on() || !end.done(); });
      const double took = (communicator.now() - start).value;
      begin.wait();
      end.wait();
      const double after = undisturbed();
      const double lost = took * (1.0 - 0.5 * (before + after) / disturbed);
      of_kinds.push_back(lost < kScatter * took ? 0.0 : lost / kind.messages);
      before = after;
    }
  }
  return median_of(costs);
}

/// The other end's part.
void exchange_with(Communicator& communicator, int rank, const std::vector<Kind>& kinds) {
  std::array<std::byte, 1> go{};
  std::array<std::byte, 1> arrived{};
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    for (const Kind& kind : kinds) {
      communicator.from(rank).receive(go, "message probe").wait();
      Flow(communicator, rank, !kind.sends, kind.bytes, kind.messages).finish();
      if (kind.sends) communicator.to(rank).send(arrived, "message probe").wait();
    }
  }
}

}  // namespace

std::vector<double> measure_message_costs(Communicator& communicator, ComputeDevice& device, Pacer pacer,
                                          const std::vector<std::string>& types,
                                          const std::vector<std::vector<TransferCurve>>& links, Seconds span) {
  std::vector<double> mine(kKinds, 0.0);
  const int ranks = communicator.size();
  if (ranks < 2) return mine;
  const std::vector<double> on_host =
      gather(communicator, std::vector{device.compute() == nullptr ? 1.0 : 0.0}, "devices");
  Load load(pacer);
  std::set<std::string> seen;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    if (on_host[r] == 0.0 || !seen.insert(types[r]).second) continue;
    const int peer = rank == 0 ? 1 : 0;
    std::vector<Kind> kinds;
    for (const std::int64_t bytes : kSizes) {
      for (const bool sends : {true, false}) {
        const TransferCurve& link =
            sends ? links[r][static_cast<std::size_t>(peer)] : links[static_cast<std::size_t>(peer)][r];
        const double fitting = span.value / std::max(link.time(Bytes{bytes}).value, 1e-6);
        kinds.push_back({sends, bytes, static_cast<int>(std::clamp<double>(fitting, 2 * kUnderWay, kMostMessages))});
      }
    }
    if (communicator.rank() == rank) {
      mine = abort_on_throw(communicator, [&] { return costs_here(communicator, load, peer, kinds, span); });
    } else if (communicator.rank() == peer) {
      abort_on_throw(communicator, [&] {
        exchange_with(communicator, rank, kinds);
        return true;
      });
    }
    communicator.world().barrier("message probe");
  }
  return mine;
}

void put_message_costs(const std::vector<double>& seconds, DeviceTable& table) {
  const auto curve = [&](std::size_t direction) {
    std::vector<TransferCurve::Point> points;
    double least = 0.0;
    for (std::size_t size = 0; size < kSizes.size(); ++size) {
      least = std::max(least, seconds[size * kDirections + direction]);
      points.push_back({Bytes{kSizes[size]}, Seconds{least}});
    }
    return TransferCurve(std::move(points));
  };
  if (std::all_of(seconds.begin(), seconds.end(), [](double time) { return time == 0.0; })) return;
  const Codec handling{curve(0), curve(1)};
  for (auto& [wire, codec] : table.codecs) {
    const auto with_handling = [&, &format = wire](const TransferCurve& coding, const TransferCurve& moving) {
      std::vector<TransferCurve::Point> points;
      for (const TransferCurve::Point& point : coding.points()) {
        const Boundary floats{{"", {point.bytes.value / 4}, DType::Float32, true}};
        const Bytes moved = wire_bytes(floats, 1, format, Pass::Forward);
        points.push_back({point.bytes, point.time + moving.time(moved)});
      }
      return TransferCurve(std::move(points));
    };
    codec = {with_handling(codec.encode, handling.encode), with_handling(codec.decode, handling.decode)};
  }
  table.codecs["float32"] = handling;
}

}  // namespace motley

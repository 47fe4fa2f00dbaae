#include "motley/profiler/links.h"

#include <algorithm>
#include <array>
#include <optional>

#include "motley/base/median.h"
#include "motley/comm/abort_on_throw.h"
#include "motley/comm/nccl/cuda_fabric.h"
#include "motley/cuda/memory.h"
#include "motley/plan/transports.h"

namespace motley {
namespace {

constexpr std::array<std::int64_t, 5> kSizes{1'024, 16'384, 65'536, 262'144, 1'048'576};
constexpr std::array<const char*, 2> kWays{"host", "nccl"};

/// Bytes of the rank's device.
class Buffer {
 public:
  Buffer(const LinkOptions& options, std::size_t bytes) {
    if (options.device != nullptr && options.device->compute() != nullptr) {
      there_.emplace(options.device->compute()->device(), CudaMemory::Kind::Device, bytes);
    } else {
      here_.resize(bytes);
    }
  }
  [[nodiscard]] std::span<std::byte> bytes() { return there_ ? there_->bytes() : std::span<std::byte>(here_); }

 private:
  std::vector<std::byte> here_;
  std::optional<CudaMemory> there_;
};

std::unique_ptr<Fabric> fabric_of(Communicator& communicator, const LinkOptions& options, std::vector<EdgeUse> edges,
                                  const std::vector<GroupUse>& groups) {
  ComputeDevice* const device = options.device;
  if (device == nullptr || device->compute() == nullptr) {
    return host_fabric(communicator);
  }
  return cuda_fabric({communicator, *device->compute(), *device->clock(), options.nccl}, std::move(edges), groups);
}

std::vector<std::string> ways_between(const LinkOptions& options, int a, int b) {
  return options.edge_ways ? options.edge_ways(a, b) : std::vector<std::string>{"host"};
}

/// Two ranks, one of them this one, and how they exchange.
class Pair {
 public:
  Pair(Communicator& communicator, const LinkOptions& options, int a, int b, const std::string& way)
      : communicator_(communicator),
        options_(options),
        fabric_(fabric_of(communicator, options, {{a, b, way}, {b, a, way}}, {})) {}

  /// Median seconds of a round trip: `bytes` from `from` to `to`, one byte back.
  double round_trip(int from, int to, std::int64_t bytes, int repeats) {
    Buffer data(options_, static_cast<std::size_t>(bytes));
    Buffer answer(options_, 1);
    return abort_on_throw(communicator_, [&] {
      std::vector<double> times;
      for (int i = 0; i < repeats + 1; ++i) {
        const Seconds start = communicator_.now();
        std::vector<Work> works;
        if (communicator_.rank() == from) {
          receive(to, answer, "link answer", works);
          send(to, data, "link probe", works);
          for (auto work = works.rbegin(); work != works.rend(); ++work) work->wait();
        } else {
          receive(from, data, "link probe", works);
          works.back().wait();
          send(from, answer, "link answer", works);
          works.back().wait();
        }
        fabric_->settle("link probe", {});
        if (i > 0) {
          times.push_back((communicator_.now() - start).value);
        }
      }
      return spread_of(times).median;
    });
  }

 private:
  void send(int peer, Buffer& buffer, const char* label, std::vector<Work>& works) {
    const std::array<std::span<const std::byte>, 1> parts{buffer.bytes()};
    fabric_->to(peer).send(parts, label, works);
  }
  void receive(int peer, Buffer& buffer, const char* label, std::vector<Work>& works) {
    const std::array<std::span<std::byte>, 1> parts{buffer.bytes()};
    fabric_->from(peer).receive(parts, label, works);
  }

  Communicator& communicator_;
  const LinkOptions& options_;
  std::unique_ptr<Fabric> fabric_;
};

/// What this rank measured, in one line of numbers that all ranks exchange: times by way, other rank and size, then the
/// memory of an NCCL edge.
class Line {
 public:
  explicit Line(int ranks)
      : ranks_(static_cast<std::size_t>(ranks)), numbers_(kWays.size() * ranks_ * kSizes.size() + 1) {}

  double& time(std::size_t way, int to, std::size_t size) {
    return numbers_[(way * ranks_ + static_cast<std::size_t>(to)) * kSizes.size() + size];
  }
  double& edge_memory() { return numbers_.back(); }
  std::vector<double>& numbers() { return numbers_; }

 private:
  std::size_t ranks_;
  std::vector<double> numbers_;
};

/// Memory of this rank's device, for what an NCCL connection takes of it; 0 for other ways.
Bytes free_for(const LinkOptions& options, const std::string& way) {
  return way == "nccl" ? options.device->compute()->device().free_memory() : Bytes{};
}

/// This rank's part of measuring the pair `a`, `b` by one way. `fresh`: one of the two has no NCCL connection before,
/// so that the first takes memory that later ones share.
void measure_pair(Communicator& communicator, const LinkOptions& options, int a, int b, const std::string& way,
                  bool fresh, int repeats, Line& mine) {
  const auto column = static_cast<std::size_t>(std::find(kWays.begin(), kWays.end(), way) - kWays.begin());
  if (way == "nccl" && fresh) {
    const Pair first(communicator, options, a, b, way);
  }
  const Bytes free = free_for(options, way);
  Pair pair(communicator, options, a, b, way);
  const double taken = 0.5 * static_cast<double>((free - free_for(options, way)).value);  // by an edge each way
  mine.edge_memory() = std::max(mine.edge_memory(), taken);
  for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
    const double empty = pair.round_trip(from, to, 1, repeats);
    for (std::size_t size = 0; size < kSizes.size(); ++size) {
      const double trip = pair.round_trip(from, to, kSizes[size], repeats);
      if (communicator.rank() == from) {
        mine.time(column, to, size) = std::max(trip - 0.5 * empty, 0.5 * empty);
      }
    }
  }
}

TransferCurve curve_of(Line& line, std::size_t way, int to) {
  std::vector<TransferCurve::Point> points;
  Seconds least;
  for (std::size_t size = 0; size < kSizes.size(); ++size) {
    least = std::max(least, Seconds{line.time(way, to, size)});  // noise must not make a larger message faster
    points.push_back({Bytes{kSizes[size]}, least});
  }
  return TransferCurve(std::move(points));
}

}  // namespace

MeasuredLinks measure_links(Communicator& communicator, const LinkOptions& options, int repeats) {
  const int n = communicator.size();
  Line mine(n);
  std::vector<int> nccl_peers(static_cast<std::size_t>(n), 0);
  for (int a = 0; a < n; ++a) {
    for (int b = a + 1; b < n; ++b) {
      for (const std::string& way : ways_between(options, a, b)) {
        int& of_a = nccl_peers[static_cast<std::size_t>(a)];
        int& of_b = nccl_peers[static_cast<std::size_t>(b)];
        const bool fresh = of_a == 0 || of_b == 0;
        if (way == "nccl") {
          ++of_a;
          ++of_b;
        }
        if (communicator.rank() == a || communicator.rank() == b) {
          measure_pair(communicator, options, a, b, way, fresh, repeats, mine);
        }
        communicator.world().barrier("link probe");
      }
    }
  }
  const std::size_t width = mine.numbers().size();
  std::vector<double> all(width * static_cast<std::size_t>(n));
  communicator.world().all_gather(std::as_bytes(std::span(mine.numbers())), std::as_writable_bytes(std::span(all)),
                                  "link times");
  std::vector<Line> lines(static_cast<std::size_t>(n), Line(n));
  MeasuredLinks measured;
  for (std::size_t rank = 0; rank < lines.size(); ++rank) {
    std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(rank * width), width, lines[rank].numbers().begin());
    const int edges = 2 * std::min(2, nccl_peers[rank]);
    measured.connections.push_back(edges * Bytes{static_cast<std::int64_t>(lines[rank].edge_memory())});
  }
  measured.links.assign(lines.size(), std::vector<TransferCurve>(lines.size()));
  for (int a = 0; a < n; ++a) {
    for (int b = a + 1; b < n; ++b) {
      const std::vector<std::string> ways = ways_between(options, a, b);
      for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
        for (const std::string& way : ways) {
          const auto column = static_cast<std::size_t>(std::find(kWays.begin(), kWays.end(), way) - kWays.begin());
          TransferCurve curve = curve_of(lines[static_cast<std::size_t>(from)], column, to);
          measured.links[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)] = curve;
          if (ways.size() > 1) {
            measured.transports.push_back({from, to, way == "nccl" ? way : options.host_transport, std::move(curve)});
          }
        }
      }
    }
  }
  use_faster_links(measured.links, measured.transports);
  return measured;
}

MeasuredGroups measure_groups(Communicator& communicator, const LinkOptions& options,
                              const std::vector<std::vector<int>>& groups, int repeats) {
  std::vector<double> mine(groups.size() * kSizes.size() + 1, 0.0);  // times, then memory
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (std::find(groups[g].begin(), groups[g].end(), communicator.rank()) != groups[g].end()) {
      const std::string way = options.group_way ? options.group_way(groups[g]) : "host";
      const Bytes free = free_for(options, way);
      const std::unique_ptr<Fabric> fabric = fabric_of(communicator, options, {}, {{groups[g], way}});
      mine.back() = std::max(mine.back(), static_cast<double>((free - free_for(options, way)).value));
      const std::unique_ptr<Reduction> reduction = fabric->reduction(groups[g]);
      const std::unique_ptr<Group> group = communicator.group(groups[g]);
      for (std::size_t size = 0; size < kSizes.size(); ++size) {
        Buffer values(options, static_cast<std::size_t>(kSizes[size]));
        const std::span floats(reinterpret_cast<float*>(values.bytes().data()), values.bytes().size() / sizeof(float));
        mine[g * kSizes.size() + size] = abort_on_throw(communicator, [&] {
          std::vector<double> times;
          for (int i = 0; i < repeats + 1; ++i) {
            group->barrier("all-reduce probe");
            const Seconds start = communicator.now();
            reduction->sum(floats, "all-reduce probe").wait();
            fabric->settle("all-reduce probe", {});
            if (i > 0) {
              times.push_back((communicator.now() - start).value);
            }
          }
          return spread_of(times).median;
        });
      }
    }
    communicator.world().barrier("all-reduce probe");
  }
  std::vector<double> all(mine.size() * static_cast<std::size_t>(communicator.size()));
  communicator.world().all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)),
                                  "all-reduce times");
  MeasuredGroups measured;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator.size()); ++rank) {
    measured.connections.push_back(Bytes{static_cast<std::int64_t>(all[(rank + 1) * mine.size() - 1])});
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    std::vector<TransferCurve::Point> points;
    Seconds least;
    for (std::size_t size = 0; size < kSizes.size(); ++size) {
      for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator.size()); ++rank) {
        least = std::max(least, Seconds{all[rank * mine.size() + g * kSizes.size() + size]});
      }
      points.push_back({Bytes{kSizes[size]}, least});
    }
    measured.all_reduce.push_back({groups[g], TransferCurve(std::move(points))});
  }
  return measured;
}

Seconds measure_norm_exchange(Communicator& communicator, std::size_t values, int repeats) {
  std::vector<double> mine(values, 1.0);
  std::vector<double> all(values * static_cast<std::size_t>(communicator.size()));
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    communicator.world().barrier("norm probe");
    const Seconds start = communicator.now();
    communicator.world().all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)),
                                    "norm probe");
    times.push_back((communicator.now() - start).value);
  }
  return {spread_of(times).median};
}

}  // namespace motley

#include "motley/profiler/links.h"

#include <algorithm>
#include <array>

#include "motley/comm/abort_on_throw.h"
#include "motley/profiler/median.h"

namespace motley {
namespace {

constexpr std::array<std::int64_t, 5> kSizes{1'024, 16'384, 65'536, 262'144, 1'048'576};

/// Median seconds of a round trip: `bytes` from `a` to `b`, one byte back. Zero on ranks that take no part.
double round_trip(Communicator& communicator, int a, int b, std::int64_t bytes, int repeats) {
  std::vector<std::byte> data(static_cast<std::size_t>(bytes));
  std::array<std::byte, 1> answer{};
  std::vector<double> times;
  abort_on_throw(communicator, [&] {
    for (int i = 0; i < repeats + 1; ++i) {
      const Seconds start = communicator.now();
      if (communicator.rank() == a) {
        Work back = communicator.from(b).receive(answer, "link answer");
        Work out = communicator.to(b).send(data, "link probe");
        out.wait();
        back.wait();
      } else {
        communicator.from(a).receive(data, "link probe").wait();
        communicator.to(a).send(answer, "link answer").wait();
      }
      if (i > 0) {
        times.push_back((communicator.now() - start).value);
      }
    }
  });
  return spread_of(times).median;
}

}  // namespace

std::vector<std::vector<TransferCurve>> measure_links(Communicator& communicator, int repeats) {
  const int n = communicator.size();
  const auto cells = static_cast<std::size_t>(n) * kSizes.size();
  std::vector<double> mine(cells, 0.0);  // from this rank, [to][size]
  for (int a = 0; a < n; ++a) {
    for (int b = 0; b < n; ++b) {
      if (a == b) {
        continue;
      }
      if (communicator.rank() == a || communicator.rank() == b) {
        const double empty = round_trip(communicator, a, b, 1, repeats);
        for (std::size_t size = 0; size < kSizes.size(); ++size) {
          const double trip = round_trip(communicator, a, b, kSizes[size], repeats);
          if (communicator.rank() == a) {
            mine[static_cast<std::size_t>(b) * kSizes.size() + size] = std::max(trip - 0.5 * empty, 0.5 * empty);
          }
        }
      }
      communicator.world().barrier("link probe");
    }
  }
  std::vector<double> all(cells * static_cast<std::size_t>(n));
  communicator.world().all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), "link times");
  std::vector<std::vector<TransferCurve>> links(static_cast<std::size_t>(n));
  for (int a = 0; a < n; ++a) {
    for (int b = 0; b < n; ++b) {
      if (a == b) {
        links[static_cast<std::size_t>(a)].emplace_back();
        continue;
      }
      std::vector<TransferCurve::Point> points;
      Seconds least;
      for (std::size_t size = 0; size < kSizes.size(); ++size) {
        const double time =
            all[static_cast<std::size_t>(a) * cells + static_cast<std::size_t>(b) * kSizes.size() + size];
        least = std::max(least, Seconds{time});  // noise must not make a larger message faster
        points.push_back({Bytes{kSizes[size]}, least});
      }
      links[static_cast<std::size_t>(a)].emplace_back(std::move(points));
    }
  }
  return links;
}

std::vector<AllReduce> measure_all_reduce(Communicator& communicator, const std::vector<std::vector<int>>& groups,
                                          int repeats) {
  std::vector<double> mine(groups.size() * kSizes.size(), 0.0);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (std::find(groups[g].begin(), groups[g].end(), communicator.rank()) != groups[g].end()) {
      const std::unique_ptr<Group> group = communicator.group(groups[g]);
      for (std::size_t size = 0; size < kSizes.size(); ++size) {
        std::vector<float> values(static_cast<std::size_t>(kSizes[size]) / sizeof(float));
        std::vector<double> times;
        for (int i = 0; i < repeats + 1; ++i) {
          group->barrier("all-reduce probe");
          const Seconds start = communicator.now();
          group->all_reduce_sum(values, "all-reduce probe");
          if (i > 0) {
            times.push_back((communicator.now() - start).value);
          }
        }
        mine[g * kSizes.size() + size] = spread_of(times).median;
      }
    }
    communicator.world().barrier("all-reduce probe");
  }
  std::vector<double> all(mine.size() * static_cast<std::size_t>(communicator.size()));
  communicator.world().all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)),
                                  "all-reduce times");
  std::vector<AllReduce> measured;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    std::vector<TransferCurve::Point> points;
    Seconds least;
    for (std::size_t size = 0; size < kSizes.size(); ++size) {
      for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator.size()); ++rank) {
        least = std::max(least, Seconds{all[rank * mine.size() + g * kSizes.size() + size]});
      }
      points.push_back({Bytes{kSizes[size]}, least});
    }
    measured.push_back({groups[g], TransferCurve(std::move(points))});
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

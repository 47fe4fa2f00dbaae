#include "motley/profiler/bursts.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <span>
#include <thread>

#include "motley/base/median.h"
#include "motley/base/thread_time.h"
#include "motley/profiler/load.h"

namespace motley {
namespace {

/// y at x = 0 of the straight line through (first, y[0]), (first + 1, y[1]) and so on, by least squares.
double at_zero(double first, std::span<const double> y) {
  const auto n = static_cast<double>(y.size());
  const double mean_x = first + 0.5 * (n - 1.0);
  const double mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0.0;
  double xy = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double x = first + static_cast<double>(i) - mean_x;
    xx += x * x;
    xy += x * (y[i] - mean_y);
  }
  return mean_y - xy / xx * mean_x;
}

constexpr double kWhole = 0.95;  // share of a processor from which a thread has it to itself
constexpr Seconds kWarmUp{0.1};
constexpr Seconds kSteady{0.3};
constexpr Seconds kPause{0.1};  // the period of a container's quota unless told otherwise
constexpr Seconds kLook{0.3};   // at steady speed
constexpr int kPausesARepeat = 4;

}  // namespace

Burst burst_of(const PausedWork& work) {
  if (work.share >= kWhole || work.ends.empty()) return {};
  const std::vector<double> ends = median_of(work.ends);
  const std::size_t settled = ends.size() / 4;
  const double credit = -at_zero(static_cast<double>(settled + 1), std::span(ends).subspan(settled));
  return credit > 0.0 ? Burst{Seconds{credit}, 1.0 / work.share} : Burst{};
}

Burst measure_burst(Communicator& communicator, ComputeDevice& device, Pacer pacer, std::int64_t repeats) {
  communicator.world().barrier("measuring pauses");
  if (device.compute() != nullptr || pacer.emulates()) return {};
  Load load(pacer);
  PausedWork work;
  Seconds start = communicator.now();
  while (communicator.now() - start < kWarmUp) load.piece();
  start = communicator.now();
  const Seconds start_computing = thread_time();
  const Seconds piece{load.seconds_a_piece(communicator, [&] { return communicator.now() - start < kSteady; })};
  work.share = (thread_time() - start_computing) / (communicator.now() - start);
  if (work.share >= kWhole) return {};
  const auto pieces = static_cast<std::size_t>(std::max(4.0, kLook / piece));
  for (std::int64_t pause = 0; pause < kPausesARepeat * repeats; ++pause) {
    // Not in step with a quota's period.
    std::this_thread::sleep_for(
        std::chrono::duration<double>(kPause.value * (1.0 + 0.013 * static_cast<double>(pause % 8))));
    start = communicator.now();
    std::vector<double>& ends = work.ends.emplace_back();
    while (ends.size() < pieces) {
      load.piece();
      ends.push_back((communicator.now() - start).value);
    }
  }
  return burst_of(work);
}

}  // namespace motley

// Actions a second of the simulator on one core, 1F1B over 64 ranks and 512 micro-batches with transfers: with links
// that nobody shares, with hosts of four ranks whose NICs are the limit, and the same with the ranks of a host spread
// over the pipeline, so that every message crosses hosts. Beside it the replay moment by moment that tests hold it
// against, on the same schedule in the same run; with full NICs both depend on rounding (see nic_sharing.h).

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"
#include "reference_simulator.h"

namespace motley {
namespace {

constexpr int kRanks = 64;
constexpr int kMicroBatches = 512;
constexpr int kRanksOfHost = 4;

enum class Hosts { None, InARow, Spread };

PipelineCosts costs(Hosts hosts) {
  PipelineCosts costs;
  for (int s = 0; s < kRanks; ++s) {
    StageCosts cost;
    cost.forward = Seconds{1e-3 * (1.0 + 0.01 * (s % 7))};
    cost.backward = Seconds{2e-3 * (1.0 + 0.01 * (s % 5))};
    cost.update = Seconds{1e-3};
    cost.boundary_forward = cost.boundary_backward = Bytes{1'000'000};
    cost.saved = cost.forward_peak = cost.backward_peak = Bytes{4'000'000};
    costs.stages.push_back(cost);
  }
  costs.transfer = [](int from, int to, Bytes bytes) {
    const double rate = from / kRanksOfHost == to / kRanksOfHost ? 50e9 : 2e9;
    return Seconds{20e-6} + bytes / BytesPerSecond{rate};
  };
  costs.norm_exchange = Seconds{1e-4};
  if (hosts == Hosts::None) return costs;
  constexpr int kHosts = kRanks / kRanksOfHost;
  for (int r = 0; r < kRanks; ++r) costs.host_of_rank.push_back(hosts == Hosts::InARow ? r / kRanksOfHost : r % kHosts);
  // Less than what a host's messages of 1 MB a pass want when they meet.
  costs.nics.assign(kHosts, {BytesPerSecond{1.5e9}, BytesPerSecond{1.5e9}});
  return costs;
}

/// Of this thread's CPU time, so that what else runs on the machine does not count.
double seconds(const auto& body) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  body();
  return now() - start;
}

void measure(const std::string& name, const Schedule& lowered, Hosts hosts, int repeats) {
  std::size_t actions = 0;
  for (const auto& row : lowered.ranks) actions += row.size();
  const PipelineCosts with = costs(hosts);
  const Program program(lowered);
  Simulator simulator;
  std::vector<double> whole, again;
  double iteration_s = 0.0;
  for (int i = 0; i < repeats; ++i) {
    whole.push_back(seconds([&] { iteration_s = simulate(lowered, with).iteration.value; }));
    again.push_back(seconds([&] { (void)simulator.run(program, with); }));
  }
  ReferenceReplay reference;
  const double reference_s = seconds([&] { reference = replay_by_moments(lowered, with); });
  std::sort(whole.begin(), whole.end());
  std::sort(again.begin(), again.end());
  const auto million = [&](double s) { return static_cast<double>(actions) / s * 1e-6; };
  fmt::print("{:<28} {:>8} {:>10.2f} {:>8.2f} to {:<8.2f} {:>10.2f} {:>10.1f} {:>12.4f} {:>12.4f}\n", name, actions,
             million(whole[whole.size() / 2]), million(whole.back()), million(whole.front()),
             million(again[again.size() / 2]), reference_s / whole[whole.size() / 2], iteration_s,
             reference.iteration_s);
}

}  // namespace
}  // namespace motley

int main(int argc, char** argv) {
  using namespace motley;
  const int repeats = argc > 1 ? static_cast<int>(std::strtol(argv[1], nullptr, 10)) : 15;
  const Schedule lowered = add_transfers(with_updates(one_f_one_b(kRanks, kMicroBatches), true));
  fmt::print("1F1B, {} ranks, {} micro-batches; median of {} and spread, million actions a second\n", kRanks,
             kMicroBatches, repeats);
  fmt::print("{:<28} {:>8} {:>10} {:>8}    {:<8} {:>10} {:>10} {:>12} {:>12}\n", "", "actions", "simulate", "least",
             "most", "a program", "x moments", "iteration s", "by moments s");
  measure("links of their own", lowered, Hosts::None, repeats);
  measure("NICs, hosts in a row", lowered, Hosts::InARow, repeats);
  measure("NICs, hosts spread", lowered, Hosts::Spread, repeats);
}

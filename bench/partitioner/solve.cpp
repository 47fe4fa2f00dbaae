// Solve time of "exact" on pipelines of the quickstart's size, beside the time that simulating one plan takes in the
// same run: how many simulations a solve costs, and how many the space would.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "motley/partitioner/explain.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

constexpr std::int64_t kBatch = 256;

/// Four devices at .8 : .4 : .2 : .2 of a core, every link measured apart, layers of uneven size.
Profile quickstart_like(int layers, double megabytes_per_second, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  const auto real = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(engine);
  };
  Profile profile;
  profile.model.name = "synthetic";
  profile.model.micro_batch_sizes = {8, 16, 32, 64};
  std::vector<double> weights;
  for (int layer = 0; layer < layers; ++layer) {
    weights.push_back(layer == 0 || layer + 1 == layers ? real(0.2, 2.0) : real(0.9, 1.1));
    LayerProfile of;
    of.name = fmt::format("layer{}", layer);
    of.parameters = Bytes{static_cast<std::int64_t>(4e6 * weights.back())};
    of.optimizer_state = 2 * of.parameters;
    if (layer + 1 < layers) of.output = {TensorSpec{"hidden", {512}, DType::Float32, true}};
    for (const std::int64_t size : profile.model.micro_batch_sizes) {
      of.memory.emplace_back().saved = Bytes{6144 * size};
    }
    profile.model.layers.push_back(of);
  }
  const double shares[] = {0.8, 0.4, 0.2};
  for (int type = 0; type < 3; ++type) {
    DeviceTimes times;
    for (const std::int64_t size : profile.model.micro_batch_sizes) {
      std::vector<LayerTimes> row;
      for (const double weight : weights) {
        const double forward = weight * (2e-4 + 2e-5 * static_cast<double>(size)) / shares[type] * real(0.97, 1.03);
        row.push_back({{forward}, {forward}, {forward}, {2 * forward * real(0.97, 1.03)}, 0.0});
      }
      times.by_size.push_back(row);
    }
    for (const double weight : weights) times.update.push_back({2e-3 * weight / shares[type]});
    profile.model.devices[fmt::format("share{}", type)] = DeviceTable{times, times};
  }
  for (const int type : {0, 1, 2, 2}) {
    const int rank = profile.cluster.size();
    profile.cluster.devices.push_back(
        {fmt::format("rank{}", rank), "host", fmt::format("share{}", type), Bytes{400'000'000}, 0.0});
  }
  profile.cluster.links.assign(4, {});
  for (auto& row : profile.cluster.links) {
    for (int to = 0; to < 4; ++to)
      row.emplace_back(Seconds{real(4e-5, 6e-5)}, BytesPerSecond{1e6 * megabytes_per_second * real(0.5, 1.5)});
  }
  profile.cluster.action_overhead = Seconds{5e-5};
  profile.cluster.norm_exchange = Seconds{3e-4};
  return profile;
}

double seconds_a_simulation(const Plan& plan, const Profile& profile) {
  std::vector<double> times;
  for (int i = 0; i < 15; ++i) {
    const auto start = std::chrono::steady_clock::now();
    static_cast<void>(price(plan, profile, true));
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + 7, times.end());
  return times[7];
}

double binomial(int n, int k) {
  double result = 1.0;
  for (int i = 1; i <= k; ++i) result = result * (n - k + i) / i;
  return result;
}

/// Plans in the space for four devices, enough micro-batches and 1F1B.
double space_size(int layers) {
  double plans = 0.0;
  double orders = 1.0;
  for (int stages = 1; stages <= 4; ++stages) {
    orders *= 5 - stages;
    plans += binomial(layers - 1, stages - 1) * orders * std::pow(1 + kMostExtraWarmUp, stages - 1);
  }
  return 4.0 * plans;
}

void run(int layers, double megabytes_per_second) {
  std::vector<double> solves;
  std::vector<double> ratios;
  double expansions = 0.0;
  double simulated = 0.0;
  double worst_gap = 0.0;
  double simulation = 0.0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Profile profile = quickstart_like(layers, megabytes_per_second, seed);
    SearchOptions options;
    options.global_batch = kBatch;
    const Found found = std::get<Found>(find_plan("exact", profile, options));
    simulation = seconds_a_simulation(found.plan, profile);
    solves.push_back(found.statistics.solve.value);
    ratios.push_back(found.statistics.solve.value / simulation);
    expansions = std::max(expansions, static_cast<double>(found.statistics.expansions));
    simulated = std::max(simulated, static_cast<double>(found.statistics.simulated));
    worst_gap = std::max(worst_gap, found.plan.certificate->gap);
  }
  std::sort(solves.begin(), solves.end());
  std::sort(ratios.begin(), ratios.end());
  fmt::print("{:>6} {:>9} {:>24} {:>24} {:>14.3g} {:>11.0f} {:>10.0f} {:>8.4f}\n", layers, megabytes_per_second,
             fmt::format("{:.3f} ({:.3f}..{:.3f})", solves[2], solves.front(), solves.back()),
             fmt::format("{:.0f} ({:.0f}..{:.0f})", ratios[2], ratios.front(), ratios.back()), space_size(layers),
             expansions, simulated, worst_gap);
}

}  // namespace
}  // namespace motley

int main() {
  fmt::print("exact, 4 devices of 3 types, batch 256, micro-batches of 8 to 64; median (least..most) of 5 profiles\n");
  fmt::print("{:>6} {:>9} {:>24} {:>24} {:>14} {:>11} {:>10} {:>8}\n", "layers", "link MB/s", "solve s",
             "in simulations", "plans in space", "most nodes", "simulated", "gap");
  for (const double rate : {100.0, 10.0, 2.0}) {
    for (const int layers : {14, 20, 26}) motley::run(layers, rate);
  }
  return 0;
}

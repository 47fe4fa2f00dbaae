#include "random_schedule.h"

#include <map>
#include <random>

namespace motley {
namespace {

using Random = std::mt19937_64;

int between(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

}  // namespace

Schedule random_schedule(std::uint64_t seed) {
  Random random(seed);
  const int ranks = between(random, 1, 4);
  const int stages = between(random, ranks, 5);
  const int micro_batches = between(random, 1, 5);
  std::vector<int> owner(static_cast<std::size_t>(stages));
  for (int s = 0; s < stages; ++s) owner[s] = s < ranks ? s : between(random, 0, ranks - 1);
  std::shuffle(owner.begin(), owner.end(), random);
  std::vector<bool> apart;
  for (int s = 0; s < stages; ++s) apart.push_back(between(random, 0, 1) == 1);

  // forward[s][m] and so on: done. Weight gradients (W or B) ascend by micro-batch.
  std::vector<std::vector<bool>> forward(stages, std::vector<bool>(micro_batches));
  auto input = forward;
  std::vector<int> weights(static_cast<std::size_t>(stages), 0);
  Schedule schedule;
  schedule.ranks.resize(static_cast<std::size_t>(ranks));
  while (true) {
    std::vector<Action> can;
    for (int s = 0; s < stages; ++s) {
      for (int m = 0; m < micro_batches; ++m) {
        if (!forward[s][m] && (s == 0 || forward[s - 1][m])) can.push_back({Op::Forward, s, m});
        const bool gradient_there = forward[s][m] && (s + 1 == stages || input[s + 1][m]);
        if (!input[s][m] && gradient_there && (apart[s] || weights[s] == m)) {
          can.push_back({apart[s] ? Op::BackwardInput : Op::Backward, s, m});
        }
        if (apart[s] && input[s][m] && weights[s] == m) can.push_back({Op::BackwardWeight, s, m});
      }
    }
    if (can.empty()) return schedule;
    const Action next = can[static_cast<std::size_t>(between(random, 0, static_cast<int>(can.size()) - 1))];
    schedule.ranks[owner[next.stage]].push_back(next);
    if (next.op == Op::Forward) forward[next.stage][next.micro_batch] = true;
    if (next.op == Op::Backward || next.op == Op::BackwardInput) input[next.stage][next.micro_batch] = true;
    if (next.op == Op::Backward || next.op == Op::BackwardWeight) ++weights[next.stage];
  }
}

PipelineCosts random_costs(std::uint64_t seed, const Schedule& schedule) {
  Random random(seed * 7919 + 1);
  const auto time = [&] { return Seconds{std::uniform_real_distribution<double>(0.01, 1.0)(random)}; };
  const auto size = [&](int most) { return Bytes{between(random, 1, most)}; };
  PipelineCosts costs;
  for (int s = 0; s < schedule.stage_count(); ++s) {
    StageCosts cost;
    cost.forward = time();
    cost.backward_input = time();
    cost.backward_weight = time();
    cost.backward = time();
    cost.update = time();
    cost.boundary_forward = size(100);
    cost.boundary_backward = size(100);
    cost.resident = size(1000);
    cost.saved = size(200);
    cost.queued = size(100);
    cost.forward_peak = size(400);
    cost.backward_input_peak = size(500);
    cost.backward_weight_peak = size(200);
    cost.backward_peak = size(600);
    costs.stages.push_back(cost);
  }
  const std::size_t ranks = schedule.ranks.size();
  std::vector<double> latency_s, bytes_per_s;
  for (std::size_t link = 0; link < ranks * ranks; ++link) {
    latency_s.push_back(time().value * 0.1);
    bytes_per_s.push_back(between(random, 0, 3) == 0 ? 50.0 : 1000.0);
  }
  costs.transfer = [=](int from, int to, Bytes bytes) {
    const std::size_t link = static_cast<std::size_t>(from) * ranks + static_cast<std::size_t>(to);
    return Seconds{latency_s[link] + static_cast<double>(bytes.value) / bytes_per_s[link]};
  };
  costs.base_memory = size(50);
  costs.action_overhead = Seconds{between(random, 0, 1) * 0.003};
  costs.norm_exchange = Seconds{0.02};
  return costs;
}

}  // namespace motley

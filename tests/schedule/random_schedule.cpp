#include "random_schedule.h"

#include <algorithm>
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

ReplicatedSchedule random_replicated_schedule(std::uint64_t seed) {
  constexpr std::int64_t kSamples = 12;
  const Schedule rows = random_schedule(seed);
  Random random(seed * 104729 + 5);
  std::vector<std::vector<Share>> group_of_row;
  int ranks = 0;
  for (std::size_t row = 0; row < rows.ranks.size(); ++row) {
    const int replicas = between(random, 1, 3);
    std::vector<std::int64_t> cuts{0, kSamples};
    while (static_cast<int>(cuts.size()) <= replicas) {
      const std::int64_t cut = between(random, 1, kSamples - 1);
      if (std::find(cuts.begin(), cuts.end(), cut) == cuts.end()) cuts.push_back(cut);
    }
    std::sort(cuts.begin(), cuts.end());
    std::vector<Share>& group = group_of_row.emplace_back();
    for (int i = 0; i < replicas; ++i) group.push_back({ranks++, cuts[i], cuts[i + 1]});
  }
  std::vector<int> label(static_cast<std::size_t>(ranks));  // ranks of a group need not be neighbours
  for (int r = 0; r < ranks; ++r) label[r] = r;
  std::shuffle(label.begin(), label.end(), random);
  ReplicatedSchedule result;
  result.compute.ranks.resize(static_cast<std::size_t>(ranks));
  const std::vector<int> row_of_stage = rows.rank_of_stage();
  for (const int row : row_of_stage) {
    std::vector<Share> shares = group_of_row[row];
    for (Share& share : shares) share.rank = label[share.rank];
    result.compute.ranks[shares.front().rank] = rows.ranks[row];
    result.shares.push_back(shares);
  }
  std::vector<bool> recompute;
  for (std::size_t s = 0; s < row_of_stage.size(); ++s) recompute.push_back(between(random, 0, 2) == 0);
  result.compute = with_recompute(replicate(result.compute, result.shares), recompute);
  return result;
}

PipelineCosts random_replicated_costs(std::uint64_t seed, const ReplicatedSchedule& schedule, bool nics) {
  Random random(seed * 15485863 + 11);
  PipelineCosts costs = random_costs(seed, schedule.compute);
  const auto fraction = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(random);
  };
  for (std::size_t s = 0; s < schedule.shares.size(); ++s) {
    StageCosts cost = costs.stages[s];
    cost.input = Bytes{between(random, 1, 50)};
    cost.unsaved_peak = Bytes{between(random, 1, 200)};
    cost.reduce = Seconds{fraction(0.0, 0.5)};
    costs.stages[s] = cost;
    for (const Share& share : schedule.shares[s]) {
      StageCosts other = cost;
      other.forward = other.forward * fraction(0.5, 1.5);
      other.backward = other.backward * fraction(0.5, 1.5);
      other.backward_input = other.backward_input * fraction(0.5, 1.5);
      other.saved = Bytes{between(random, 1, 200)};
      costs.on_rank[{static_cast<int>(s), share.rank}] = other;
    }
  }
  costs.part_bytes = [stages = costs.stages](Edge edge, std::int64_t samples) {
    const StageCosts& of = stages[static_cast<std::size_t>(edge.stage)];
    const Bytes all = edge.pass == Pass::Forward ? of.boundary_forward : of.boundary_backward;
    return Bytes{(all.value * samples + 11) / 12};
  };
  if (seed % 3 != 0) {
    costs.codec = [](Edge edge, int from, int to, std::int64_t samples) -> CodecTimes {
      if (edge.stage % 2 == 1) return {};
      const double pass = edge.pass == Pass::Forward ? 1.0 : 1.5;
      return {Seconds{0.01 * pass * (1 + from % 3)},
              Seconds{0.003 * pass * (1 + to % 2) * static_cast<double>(samples + 1)}};
    };
  }
  if (nics) {
    const int ranks = schedule.compute.rank_count();
    const int hosts = std::max(1, ranks / between(random, 1, 3));
    for (int r = 0; r < ranks; ++r) costs.host_of_rank.push_back(r % hosts);
    for (int h = 0; h < hosts; ++h) {
      const auto rate = [&] { return BytesPerSecond{between(random, 0, 3) == 0 ? 0.0 : fraction(30.0, 400.0)}; };
      costs.nics.push_back({rate(), rate()});
    }
  }
  return costs;
}

}  // namespace motley

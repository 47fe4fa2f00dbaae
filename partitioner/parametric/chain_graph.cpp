#include "motley/partitioner/parametric/chain_graph.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "motley/partitioner/space.h"

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;
constexpr double kRoundingOfWays = 1e-6;
constexpr int kDeepest = (1 << 14) - 1;           // of a way
constexpr std::size_t kMostNumbers = 20'000'000;  // ways, of 16 bytes; a row with its labels counts as four

}  // namespace

ChainGraph::ChainGraph(const Instance& instance, double update, int most_stages)
    : instance_(instance),
      update_(update),
      m_(instance.micro_batches),
      most_depth_((kMostExtraWarmUp + 1) * (most_stages - 1) + 1),
      links_of_cut_(static_cast<std::size_t>(instance.layers) + 1, 0) {
  const Topology& topology = instance.topology;
  std::map<std::tuple<int, int, double>, std::vector<int>> alike;
  for (int d = 0; d < static_cast<int>(instance.devices); ++d) {
    alike[{topology.host[d], topology.type[d], topology.memory[d]}].push_back(d);
  }
  for (auto& [key, devices] : alike) {
    capacities_.push_back(static_cast<double>(devices.size()));
    groups_.push_back({std::get<1>(key), std::get<2>(key), std::move(devices)});
  }
  std::map<std::pair<Bytes, Bytes>, std::size_t> known;
  for (int cut = 1; cut < instance.layers; ++cut) {
    const auto [found, is_new] =
        known.emplace(std::pair{instance.forward_amounts[cut], instance.backward_amounts[cut]}, links_.size());
    links_of_cut_[cut] = found->second;
    if (!is_new) continue;
    for (const Group& from : groups_) {
      for (const Group& to : groups_) {
        Messages& least = links_.emplace_back(Messages{kInfinity, kInfinity});
        for (const int a : from.devices) {
          for (const int b : to.devices) {
            if (a == b) continue;
            least.forward = std::min(least.forward, instance.send_forward(a, b, cut));
            least.backward = std::min(least.backward, instance.send_backward(b, a, cut));
          }
        }
      }
    }
  }
}

bool ChainGraph::knows(const Instance& instance, int most_stages) {
  const std::int64_t most_depth = std::int64_t{kMostExtraWarmUp + 1} * (most_stages - 1) + 1;
  return most_depth < instance.count && most_depth <= kDeepest;
}

double ChainGraph::total(const std::vector<double>& prices) const {
  return std::inner_product(prices.begin(), prices.end(), capacities_.begin(), 0.0);
}

std::span<const ChainGraph::Start> ChainGraph::starts_at(int layer) const {
  const std::size_t first = starts_of_[static_cast<std::size_t>(layer) + 1];
  return std::span(starts_).subspan(first, starts_of_[layer] - first);
}

std::span<const ChainGraph::Way> ChainGraph::ways_of(const Start& start) const {
  return std::span(ways_).subspan(start.first_way, start.end_way - start.first_way);
}

const ChainGraph::Start& ChainGraph::start_at(std::size_t row) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), row,
                                      [](std::size_t of, const Start& start) { return of < start.row; });
  return *std::prev(after);
}

const ChainGraph::Messages& ChainGraph::messages(int cut, int from, int to) const {
  return links_[links_of_cut_[cut] + static_cast<std::size_t>(from) * groups_.size() + to];
}

ChainGraph::Start ChainGraph::start_of(const Case& plans, int group, int first, int end) const {
  const Group& of = groups_[group];
  Start start;
  start.least = 1;
  start.stage = {group, first, end, 0};
  start.work = instance_.work_of(of.type, first, end);
  start.forward = instance_.forward_of(of.type, first, end);
  start.late = std::max(0.0, instance_.update_of(of.type, first, end) - update_);
  const double within = plans.within * (1.0 + kRounding) - start.late;
  if (m_ * start.work > within || excluded_[static_cast<std::size_t>(first) * groups_.size() + group] != 0)
    return start;
  if (decided_[first] >= 0 && decided_[first] != group) return start;
  for (int layer = first + 1; layer < end; ++layer) {
    if (decided_[layer] >= 0) return start;
  }
  const double excess = plans.round_trip + (m_ - 1.0) * start.work - within;
  const double least = 1.0 + std::max(0.0, std::ceil(excess / start.forward - kRounding));
  start.least = static_cast<int>(std::min(least, most_depth_ + 1.0));
  const double in_flight = instance_.most_in_flight(of.memory - instance_.fixed_memory(first, end),
                                                    instance_.saved_of(first, end), instance_.posted_in[first]);
  start.most = static_cast<int>(std::min<double>(end == instance_.layers ? 1 : most_depth_, in_flight));
  return start;
}

int ChainGraph::least_depth(const Case& plans, const Start& of, const Start& next, const Messages& between,
                            int fall) const {
  const double within = plans.within - std::max(of.late, next.late);
  if (m_ * std::max(between.forward, between.backward) > within * (1.0 + kRounding)) return most_depth_ + 1;
  const double backward = of.work - of.forward;
  const double n = fall + 1;
  const double way = of.work + next.work + between.forward + between.backward;
  if (way <= n * backward) return 1;  // the backwards alone take longer: counted for every stage
  const double most_ways =
      std::floor((within - plans.round_trip - (m_ - 1.0) * backward) / (way - n * backward) + kRoundingOfWays);
  return static_cast<int>(std::clamp(m_ - most_ways * n, 1.0, most_depth_ + 1.0));
}

void ChainGraph::add(const Case& plans, Start start) {
  const Stage& stage = start.stage;
  const int least = start.least;
  const int most = start.most;
  start.first_way = ways_.size();
  if (stage.end < instance_.layers) {
    start.least = most + 1;
    start.most = 0;
    for (const Start& next : starts_at(stage.end)) {
      const Messages& between = messages(stage.end, stage.group, next.stage.group);
      for (int fall = 1; fall <= kMostExtraWarmUp + 1; ++fall) {
        const int from = std::max({least, next.least + fall, least_depth(plans, start, next, between, fall)});
        const int to = std::min(most, next.most + fall);
        ++steps_of_list_;
        if (from > to) continue;
        Way& way = ways_.emplace_back();
        way.behind = static_cast<std::uint32_t>(next.row_of(from - fall));
        way.least = static_cast<std::uint16_t>(from);
        way.count = static_cast<std::uint16_t>(to - from + 1);
        way.fall = static_cast<std::uint16_t>(fall);
        way.messages = between.forward + between.backward;
        steps_of_costs_ += to - from + 1;
        start.least = std::min(start.least, from);
        start.most = std::max(start.most, to);
      }
    }
    if (start.most == 0) return;
  }
  start.end_way = ways_.size();
  start.row = rows_;
  rows_ = start.end_row();
  starts_.push_back(start);
}

bool ChainGraph::list(const Case& plans, const std::function<bool()>& is_spent) {
  const int layers = instance_.layers;
  starts_.clear();
  ways_.clear();
  rows_ = 0;
  steps_of_list_ = steps_of_costs_ = 0;
  decided_.assign(static_cast<std::size_t>(layers), -1);
  excluded_.assign(static_cast<std::size_t>(layers) * groups_.size(), 0);
  for (const Begin& begin : plans.decided) decided_[begin.layer] = begin.group;
  for (const Begin& begin : plans.excluded) {
    excluded_[static_cast<std::size_t>(begin.layer) * groups_.size() + begin.group] = 1;
  }
  starts_of_.assign(static_cast<std::size_t>(layers) + 2, 0);
  for (int first = layers - 1; first >= 0; --first) {
    starts_of_[first + 1] = starts_.size();
    for (int g = 0; g < static_cast<int>(groups_.size()); ++g) {
      for (int end = first + 1; end <= layers; ++end) {
        const Start start = start_of(plans, g, first, end);
        if (m_ * start.work > plans.within * (1.0 + kRounding)) break;
        // A longer one may still fit in memory: what is posted ahead differs by boundary.
        if (start.least <= start.most) add(plans, start);
      }
    }
    starts_of_[first] = starts_.size();
    if (is_spent() || ways_.size() + 4 * rows_ > kMostNumbers) {
      starts_.clear();
      return false;
    }
  }
  return true;
}

std::vector<double> ChainGraph::costs_from(const std::vector<double>& prices, double scale) const {
  std::vector<double> costs(rows_, kInfinity);
  for (const Start& start : starts_) {
    const double own = prices[start.stage.group] + scale * start.work;
    if (start.stage.end == instance_.layers) {
      costs[start.row] = own;
      continue;
    }
    for (const Way& way : ways_of(start)) {
      const double cost = own + scale * way.messages;
      const double* const behind = costs.data() + way.behind;
      double* const here = costs.data() + start.row_of(way.least);
      for (int i = 0; i < way.count; ++i) here[i] = std::min(here[i], behind[i] + cost);
    }
  }
  return costs;
}

std::vector<double> ChainGraph::costs_before(const std::vector<double>& prices, double scale) const {
  std::vector<double> costs(rows_, kInfinity);
  for (auto start = starts_.rbegin(); start != starts_.rend(); ++start) {
    if (start->stage.first == 0) std::fill_n(costs.data() + start->row, start->end_row() - start->row, 0.0);
    const double own = prices[start->stage.group] + scale * start->work;
    for (const Way& way : ways_of(*start)) {
      const double cost = own + scale * way.messages;
      const double* const here = costs.data() + start->row_of(way.least);
      double* const behind = costs.data() + way.behind;
      for (int i = 0; i < way.count; ++i) behind[i] = std::min(behind[i], here[i] + cost);
    }
  }
  return costs;
}

}  // namespace motley::parametric

#include "motley/partitioner/parametric/chain_labels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kCostsApart = 10.0;  // how much more than lines costs set labels apart
constexpr std::int64_t kStepsALabel = 24;

}  // namespace

template <bool kWithinGroups>
void ChainLabels<kWithinGroups>::Cell::add(const Label& label) {
  int place = count++;
  for (; place > 0 && labels[place - 1].cost > label.cost; --place) labels[place] = labels[place - 1];
  labels[place] = label;
}

template <bool kWithinGroups>
void ChainLabels<kWithinGroups>::Cell::remove(int place) {
  std::copy(labels.begin() + place + 1, labels.begin() + count, labels.begin() + place);
  --count;
}

template <bool kWithinGroups>
bool ChainLabels<kWithinGroups>::list_counters() {
  int word = 0;
  int shift = 0;
  counters_.clear();
  for (const double capacity : graph_.capacities()) {
    const int bits = std::bit_width(static_cast<std::uint64_t>(capacity));
    if (shift + bits > 64) {
      ++word;
      shift = 0;
    }
    if (word == static_cast<int>(Uses{}.size())) return false;
    counters_.push_back({word, shift, (std::uint64_t{1} << bits) - 1});
    shift += bits;
  }
  return true;
}

template <bool kWithinGroups>
bool ChainLabels<kWithinGroups>::count(int group, Uses& uses) const {
  if constexpr (kWithinGroups) {
    const Counter& counter = counters_[group];
    const std::uint64_t used = (uses[counter.word] >> counter.shift) & counter.mask;
    if (static_cast<double>(used) >= graph_.capacities()[group]) return false;
    uses[counter.word] += std::uint64_t{1} << counter.shift;
  }
  return true;
}

template <bool kWithinGroups>
void ChainLabels<kWithinGroups>::insert(std::size_t index, const Label& label) {
  Cell& cell = cells_[index];
  double& limit = limits_[index];
  for (int i = 0; i < cell.count && cell.labels[i].cost <= label.cost; ++i) {
    if (cell.labels[i].uses == label.uses && is_no_better(label, cell.labels[i])) return;
  }
  for (int i = cell.count; i-- > 0;) {
    if (cell.labels[i].uses == label.uses && is_no_better(cell.labels[i], label)) cell.remove(i);
  }
  if constexpr (kWithinGroups) {
    if (cell.count == kMostLabels) --cell.count;
    cell.add(label);
    if (cell.count == kMostLabels) limit = std::min(limit, cell.labels[kMostLabels - 1].cost);
    return;
  }
  // No line is below that of a stage whose worst round trip is its own.
  if (label.trip.n == 1) limit = std::min(limit, label.cost);
  if (cell.count < kMostLabels) return cell.add(label);
  int nearest = 0;
  double least = kInfinity;
  for (int i = 0; i < cell.count; ++i) {
    const Label& other = cell.labels[i];
    const double apart = std::abs(other.trip.value - label.trip.value) / rules_.least_period() +
                         kCostsApart * std::abs(other.cost - label.cost) / scale_;
    if (apart >= least) continue;
    least = apart;
    nearest = i;
  }
  Label both = cell.labels[nearest].cost <= label.cost ? cell.labels[nearest] : label;
  both.trip = ChainRules::below(cell.labels[nearest].trip, label.trip);
  cell.remove(nearest);
  insert(index, both);
}

template <bool kWithinGroups>
void ChainLabels<kWithinGroups>::keep(const ChainGraph::Start& start) {
  for (int depth = start.least; depth <= start.most; ++depth) {
    const Cell& cell = cells_[depth - start.least];
    if (cell.count == 0) continue;
    const std::size_t row = start.row_of(depth);
    least_[row] = cell.labels[0].cost;
    of_row_[row] = {static_cast<std::uint32_t>(labels_.size()), static_cast<std::uint32_t>(cell.count)};
    labels_.insert(labels_.end(), cell.labels.begin(), cell.labels.begin() + cell.count);
  }
}

template <bool kWithinGroups>
void ChainLabels<kWithinGroups>::clear_cells(const ChainGraph::Start& start, const std::vector<double>& before,
                                             double below) {
  const auto depths = start.end_row() - start.row;
  if (cells_.size() < depths) cells_.resize(depths);
  limits_.resize(cells_.size());
  for (std::size_t i = 0; i < depths; ++i) {
    cells_[i].count = 0;
    limits_[i] = rules_.allow(start.row + i) ? below - before[start.row + i] : -kInfinity;
  }
}

/// The chains that begin with `start` and go on by the way.
template <bool kWithinGroups>
void ChainLabels<kWithinGroups>::extend(const ChainGraph::Start& start, std::uint32_t index, double added) {
  const ChainGraph::Way& way = graph_.way(index);
  const double* const least = least_.data() + way.behind;
  const auto first_cell = static_cast<std::size_t>(way.least - start.least);
  const double* const limits = limits_.data() + first_cell;
  for (int i = 0; i < way.count; ++i) {
    if (least[i] + added >= limits[i]) continue;
    const Labels& behind = of_row_[way.behind + i];
    for (std::uint32_t l = behind.first; l < behind.first + behind.count; ++l) {
      const Label& next = labels_[l];
      Label label{next.cost + added, next.trip, l, index, next.uses};
      if (label.cost >= limits[i]) break;
      steps_ += kStepsALabel;
      if (!count(start.stage.group, label.uses)) continue;
      if (!rules_.extend(start, start.row + first_cell + i, way, label.trip)) continue;
      insert(first_cell + i, label);
    }
  }
}

template <bool kWithinGroups>
std::optional<Chain> ChainLabels<kWithinGroups>::cheapest(const std::vector<double>& prices, bool with_seconds,
                                                          double below) {
  if (kWithinGroups && !list_counters()) return std::nullopt;
  const double seconds = with_seconds ? 1.0 : 0.0;
  scale_ = std::max(std::abs(below), std::numeric_limits<double>::min());
  // What the stages before cost at least; without the longer round trips.
  const std::vector<double> before = graph_.costs_before(prices, seconds);
  steps_ += 2 * graph_.steps_of_costs();
  labels_.clear();
  of_row_.assign(graph_.rows(), {});
  least_.assign(graph_.rows(), kInfinity);
  double least = below;
  const ChainGraph::Start* begin = nullptr;
  int depth_of_begin = 0;
  for (const ChainGraph::Start& start : graph_.starts()) {
    clear_cells(start, before, below);
    const double own_cost = prices[start.stage.group] + seconds * start.work;
    if (start.stage.end == graph_.instance().layers && own_cost < limits_[0]) {
      Label last{own_cost, rules_.own(start.work), 0, 0, {}};
      if (count(start.stage.group, last.uses)) insert(0, last);
    }
    for (std::size_t way = start.first_way; way < start.end_way; ++way) {
      extend(start, static_cast<std::uint32_t>(way), own_cost + seconds * graph_.way(way).messages);
    }
    keep(start);
    if (start.stage.first > 0) continue;
    for (int depth = start.least; depth <= start.most; ++depth) {
      if (least_[start.row_of(depth)] >= least) continue;
      least = least_[start.row_of(depth)];
      begin = &start;
      depth_of_begin = depth;
    }
  }
  if (begin == nullptr) return std::nullopt;
  return follow(*begin, depth_of_begin);
}

/// The cheapest chain that begins so.
template <bool kWithinGroups>
Chain ChainLabels<kWithinGroups>::follow(const ChainGraph::Start& begin, int depth) const {
  Chain chain;
  const Label* label = &labels_[of_row_[begin.row_of(depth)].first];
  chain.cost = label->cost;
  chain.uses.assign(graph_.groups().size(), 0.0);
  for (const ChainGraph::Start* start = &begin;;) {
    const ChainGraph::Stage& stage = start->stage;
    chain.stages.push_back({stage.group, stage.first, stage.end, depth});
    chain.uses[stage.group] += 1.0;
    chain.round_trip += start->work;
    if (stage.end == graph_.instance().layers) return chain;
    const ChainGraph::Way& way = graph_.way(label->way);
    chain.round_trip += way.messages;
    start = &graph_.start_at(way.behind);
    depth -= way.fall;
    label = &labels_[label->behind];
  }
}

template class ChainLabels<false>;
template class ChainLabels<true>;

}  // namespace motley::parametric

#include "motley/partitioner/parametric/chain_rules.h"

namespace motley::parametric {
namespace {

constexpr double kLowest = 0.99;  // least period, of X - R by micro-batch
constexpr double kScale = 1.5;    // of prices, beside seconds of which some count twice

}  // namespace

void ChainRules::prepare(const ChainGraph::Case& plans) {
  const std::size_t rows = graph_.rows();
  const std::vector<double> none(graph_.groups().size(), 0.0);
  std::vector<double> round_trip(rows, plans.round_trip);        // P
  std::vector<double> with_tail = graph_.costs_from(none, 1.0);  // Q
  steps_ = graph_.steps_of_costs();
  // By prices that `scale` multiplies, seconds from the stage on counted so often.
  const auto raise = [&](std::vector<double>& bounds, double scale, double seconds_from) {
    if (plans.prices.empty()) return;
    std::vector<double> prices = plans.prices;
    for (double& price : prices) price *= scale;
    const std::vector<double> before = graph_.costs_before(prices, 1.0);
    const std::vector<double> from = graph_.costs_from(prices, seconds_from);
    const double total = graph_.total(prices) * (1.0 + kRounding);
    for (std::size_t row = 0; row < rows; ++row) bounds[row] = std::max(bounds[row], before[row] + from[row] - total);
    steps_ += 2 * graph_.steps_of_costs();
  };
  raise(round_trip, 1.0, 1.0);
  for (std::size_t row = 0; row < rows; ++row) with_tail[row] += round_trip[row];
  raise(with_tail, kScale, 2.0);
  least_period_ = kLowest * (plans.within - plans.round_trip) / (m_ - 1.0);
  most_period_ = least_period_;
  stages_.assign(rows, {});
  for (const ChainGraph::Start& start : graph_.starts()) {
    const double backward = start.work - start.forward;
    const double within = plans.within * (1.0 + kRounding) - start.late;
    for (int depth = start.least; depth <= start.most; ++depth) {
      const std::size_t row = start.row_of(depth);
      Stage& stage = stages_[row];
      const double left = m_ - depth;
      const double rest = within - with_tail[row];
      stage.period = backward + (within - round_trip[row] - (m_ - 1.0) * backward) / left;
      stage.allowed = start.work <= stage.period && (left - 1.0) * start.work <= rest;
      if (!stage.allowed) continue;
      if (left > depth) {
        stage.period =
            std::min(stage.period, std::max(start.work, (rest - (depth - 1.0) * start.work) / (left - depth)));
      }
      stage.period = std::max(stage.period, least_period_);
      most_period_ = std::max(most_period_, stage.period);
    }
  }
}

bool ChainRules::obeys(const Chain& chain) const {
  const ChainGraph::Start* next = nullptr;
  Line trip;
  for (std::size_t s = chain.stages.size(); s-- > 0;) {
    const ChainGraph::Stage& stage = chain.stages[s];
    const auto starts = graph_.starts_at(stage.first);
    const auto start = std::find_if(starts.begin(), starts.end(), [&](const ChainGraph::Start& of) {
      return of.stage.group == stage.group && of.stage.end == stage.end;
    });
    if (start == starts.end() || stage.depth < start->least || stage.depth > start->most) return false;
    const std::size_t row = start->row_of(stage.depth);
    if (!allow(row)) return false;
    if (next == nullptr) {
      trip = own(start->work);
    } else {
      const std::size_t behind = next->row_of(chain.stages[s + 1].depth);
      const auto ways = graph_.ways_of(*start);
      const auto way = std::find_if(ways.begin(), ways.end(), [&](const ChainGraph::Way& of) {
        return stage.depth >= of.least && stage.depth < of.least + of.count &&
               of.behind + static_cast<std::size_t>(stage.depth - of.least) == behind;
      });
      if (way == ways.end() || !extend(*start, row, *way, trip)) return false;
    }
    next = &*start;
  }
  return true;
}

}  // namespace motley::parametric

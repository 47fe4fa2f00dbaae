#include "motley/partitioner/parametric/block_order.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kDepthPrices[] = {0.0, 0.7, 1.5, 2.5};
constexpr int kBisections = 12;
constexpr double kPeriodStep = 0.999;  // how much less the next period must be
constexpr double kRise = 1.003;        // how much more it may be after a failure
constexpr int kLevels = 8;             // periods that share the probes
constexpr double kHeat = 0.15;         // layers
constexpr double kCold = 0.05;
constexpr int kScanned = 16;     // periods, to see where a plateau starts
constexpr double kAsFew = 0.01;  // of all layers that may be left more than at the best of these

class OrderSearch {
 public:
  OrderSearch(const ChainBuilder& builder, OrderOptions options)
      : builder_(builder),
        orders_(std::move(options.orders)),
        least_period_(options.least_period),
        probes_(options.probes),
        enough_(options.enough),
        is_enough_(std::move(options.is_enough)),
        asked_to_end_(std::move(options.is_over)),
        engine_(options.seed),
        blocks_(static_cast<int>(builder.instance().topology.blocks.size())) {
    limits_.memory_share = options.memory_share;
    limits_.sure_to_fit = options.sure_to_fit;
  }

  OrderedChain run() {
    add_natural_orders();
    for (const std::vector<int>& order : orders_) {
      for (const double price : kDepthPrices) {
        limits_.depth_price = price;
        bisect(order);
      }
    }
    if (blocks_ > 1 && probes_ > 0) {
      ask();
      search();
    }
    best_.probes = spent_;
    return std::move(best_);
  }

 private:
  [[nodiscard]] double chance() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  [[nodiscard]] int below(int n) { return static_cast<int>(chance() * n); }

  void add_natural_orders() {
    const Instance& in = builder_.instance();
    std::vector<int> order(blocks_);
    std::iota(order.begin(), order.end(), 0);
    const auto device = [&](int block) { return in.topology.blocks[block].front(); };
    const auto work = [&](int block) { return in.work[in.topology.type[device(block)]][in.layers]; };
    const auto memory = [&](int block) { return in.topology.memory[device(block)]; };
    const auto by = [&](auto key) {
      orders_.push_back(order);
      std::stable_sort(orders_.back().begin(), orders_.back().end(), [&](int a, int b) { return key(a) < key(b); });
    };
    by([&](int block) { return std::pair{work(block), memory(block)}; });
    by([&](int block) { return std::pair{memory(block) * work(block), memory(block)}; });
    by([&](int block) { return std::pair{memory(block), work(block)}; });
  }

  /// Infinite unless all layers find a place.
  double probe(const std::vector<int>& order, std::vector<ChainStage>* stages = nullptr) {
    ++spent_;
    ChainBuilder::State state = builder_.start();
    for (const int block : order) {
      builder_.extend(state, limits_, builder_.instance().topology.blocks[block], stages);
      if (state.layer == 0) return time_of(state);
    }
    return kInfinity;
  }

  [[nodiscard]] double time_of(const ChainBuilder::State& state) const {
    return state.round_trip + (builder_.instance().micro_batches - 1.0) * limits_.period;
  }

  void bisect(const std::vector<int>& order) {
    const Instance& in = builder_.instance();
    double low = 0.0;
    double high = best_period_;
    if (high == kInfinity) {
      high = 0.0;
      for (const std::vector<double>& work : in.work) high = std::max(high, work[in.layers] + 2.0 * in.overhead);
      high *= 1.001;
    }
    limits_.depth_scale = std::min<double>(in.layers, static_cast<double>(in.devices));
    for (int i = 0; i < kBisections; ++i) {
      limits_.period = i == 0 ? high : 0.5 * (low + high);
      const double time = probe(order);
      if (time == kInfinity) {
        if (i == 0) return;
        low = limits_.period;
      } else {
        high = limits_.period;
        keep(order, time);
      }
    }
  }

  void keep(const std::vector<int>& order, double time) {
    if (time >= best_.time) return;
    best_.time = time;
    best_.stages.clear();
    best_order_ = order;
    best_limits_ = limits_;
    best_period_ = limits_.period;
    static_cast<void>(probe(order, &best_.stages));
  }

  /// States after each block of `order` from block `from` on, continuing `states`; returns what is left, and less the
  /// less time once nothing is.
  double score(const std::vector<int>& order, std::vector<ChainBuilder::State>& states, int from) {
    ++spent_;
    const std::vector<std::vector<int>>& blocks = builder_.instance().topology.blocks;
    for (int b = from; b < blocks_; ++b) {
      states[b + 1] = states[b];
      if (states[b].layer > 0) builder_.extend(states[b + 1], limits_, blocks[order[b]]);
    }
    const ChainBuilder::State& last = states[blocks_];
    if (last.layer > 0) return builder_.left(last);
    return last.round_trip / (last.round_trip + limits_.period * builder_.instance().micro_batches) - 1.0;
  }

  /// Where stages are few layers long, many periods are worth the same: the least from `low` to the best plan's at
  /// which the given orders leave about as few layers as anywhere.
  double edge_of_plateau(double low) {
    std::vector<double> periods;
    std::vector<double> lefts;
    for (int i = 0; i < kScanned; ++i) {
      periods.push_back(low * std::pow(best_period_ * kPeriodStep / low, static_cast<double>(i) / kScanned));
      lefts.push_back(choose_start(periods.back()));
    }
    const double enough =
        std::max(0.0, *std::min_element(lefts.begin(), lefts.end())) + kAsFew * builder_.left(builder_.start());
    for (std::size_t i = 0; i < periods.size(); ++i) {
      if (lefts[i] <= enough) return periods[i];
    }
    return low;
  }

  /// The order and depth price among all that leave the fewest layers at `period`; how many.
  double choose_start(double period) {
    double least = kInfinity;
    ChainLimits chosen = limits_;
    std::vector<ChainBuilder::State> states(blocks_ + 1, builder_.start());
    for (const std::vector<int>& order : orders_) {
      for (const double price : kDepthPrices) {
        limits_.period = period;
        limits_.depth_price = price;
        const double left = score(order, states, 0);
        if (left < least) {
          least = left;
          order_ = order;
          chosen = limits_;
        }
      }
    }
    limits_ = chosen;
    return least;
  }

  void ask() { ended_ = best_.time <= enough_ && is_enough_(best_); }
  [[nodiscard]] bool is_over() const { return ended_ || (asked_to_end_ && asked_to_end_()); }

  /// Halves the range between the last period that no order was found for and the best one's, from below.
  void search() {
    if (best_.time == kInfinity || is_over()) return;
    limits_.depth_scale = static_cast<double>(best_.stages.size());
    double failed = least_period_;
    double period = std::min(failed * kRise, best_period_ * kPeriodStep);
    const double enough = best_period_ - (best_.time - enough_) / (builder_.instance().micro_batches - 1.0);
    std::int64_t level = probes_ / kLevels;
    if (enough > period) {
      period = std::min(enough * kPeriodStep, best_period_ * kPeriodStep);
      level = probes_ / 2;
    } else {
      period = edge_of_plateau(period);
    }
    choose_start(period);
    while (spent_ < probes_ && !is_over()) {
      limits_.period = period;
      if (!anneal(std::min(probes_ - spent_, level))) failed = std::max(failed, period);
      level = probes_ / kLevels;
      period = std::min(std::sqrt(failed * best_period_), best_period_ * kPeriodStep);
      start_from_better(period);
    }
  }

  /// Of the order at hand and the best one, that which leaves fewer layers at `period`.
  void start_from_better(double period) {
    std::vector<ChainBuilder::State> states(blocks_ + 1, builder_.start());
    limits_.period = period;
    const double left = score(order_, states, 0);
    const ChainLimits limits = std::exchange(limits_, best_limits_);
    limits_.period = period;
    limits_.depth_scale = static_cast<double>(best_.stages.size());
    if (score(best_order_, states, 0) <= left) {
      order_ = best_order_;
    } else {
      limits_ = limits;
    }
  }

  /// Whether an order better than the best was found at the period of `limits_`; ends then or after `probes`.
  bool anneal(std::int64_t probes) {
    std::vector<ChainBuilder::State> states(blocks_ + 1, builder_.start());
    std::vector<ChainBuilder::State> tried = states;
    double now = score(order_, states, 0);
    double least = now;
    std::vector<int> least_order = order_;
    ChainLimits least_limits = limits_;
    const std::int64_t begin = spent_;
    while (spent_ - begin < probes && !is_over()) {
      if (now < 0.0) {
        const double time = time_of(states[blocks_]);
        if (time < best_.time) {
          keep(order_, time);
          ask();
          return true;
        }
      }
      const double progress = static_cast<double>(spent_ - begin) / static_cast<double>(probes);
      const double heat = kHeat * (1.0 - progress) + kCold;
      std::vector<int> next = order_;
      const ChainLimits before = limits_;
      int from = 0;
      const double kind = chance();
      if (kind < 0.02) {
        limits_.depth_price = kDepthPrices[below(static_cast<int>(std::size(kDepthPrices)))] * (0.8 + 0.4 * chance());
      } else {
        const int a = below(blocks_);
        const int b = below(blocks_);
        if (a == b) continue;
        from = std::min(a, b);
        if (kind < 0.5) {
          std::swap(next[a], next[b]);
        } else if (kind < 0.9) {
          const int block = next[a];
          next.erase(next.begin() + a);
          next.insert(next.begin() + b, block);
        } else {
          std::reverse(next.begin() + from, next.begin() + std::max(a, b) + 1);
        }
      }
      tried[from] = states[from];
      const double then = score(next, tried, from);
      if (then <= now || chance() < std::exp((now - then) / heat)) {
        std::copy(tried.begin() + from, tried.end(), states.begin() + from);
        order_ = std::move(next);
        now = then;
        if (now < least) {
          least = now;
          least_order = order_;
          least_limits = limits_;
        }
      } else {
        limits_ = before;
      }
    }
    order_ = std::move(least_order);
    limits_ = least_limits;
    return false;
  }

  const ChainBuilder& builder_;
  std::vector<std::vector<int>> orders_;
  double least_period_;
  std::int64_t probes_;
  std::int64_t spent_ = 0;
  double enough_;
  std::function<bool(const OrderedChain&)> is_enough_;
  std::function<bool()> asked_to_end_;
  bool ended_ = false;
  std::mt19937_64 engine_;
  int blocks_;
  ChainLimits limits_;
  OrderedChain best_{kInfinity, {}, 0};
  double best_period_ = kInfinity;
  std::vector<int> order_, best_order_;
  ChainLimits best_limits_;
};

}  // namespace

OrderedChain search_orders(const ChainBuilder& builder, OrderOptions options) {
  return OrderSearch(builder, std::move(options)).run();
}

}  // namespace motley::parametric

#include "motley/partitioner/parametric.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <span>

#include "motley/base/error.h"
#include "motley/partitioner/deadline.h"
#include "motley/partitioner/exact.h"
#include "motley/partitioner/parametric/block_order.h"
#include "motley/partitioner/parametric/chain.h"
#include "motley/partitioner/parametric/chain_bound.h"
#include "motley/partitioner/parametric/instance.h"
#include "motley/partitioner/parametric/prices.h"
#include "motley/partitioner/parametric/share.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTolerance = 1e-3;                // of bounds
constexpr double kToleranceOfGap = 0.1;            // likewise, of a gap that is enough
constexpr double kWorthReplaying = 1.01;           // estimates beyond the best by more are not replayed
constexpr std::int64_t kDeviceSteps = 10'486'000;  // devices offered to chains, a thread
constexpr std::int64_t kProbesABlock = 2'500;
constexpr double kShares[] = {0.992, 0.98, 0.96};    // of memory, where a chain does not fit
constexpr double kToleranceOfChains = 1e-5;          // of bounds by chains, where no gap is asked for
constexpr std::int64_t kChainSteps = 1'100'000'000;  // of their dynamic programmes: less than a second
constexpr std::int64_t kChainStepsForAGap = 1'500'000'000;
// Up to so many devices, chains find better plans than more probes do, where no gap is asked for.
constexpr int kDevicesForChains = 256;
constexpr std::int64_t kChainsShare = 8;
constexpr std::int64_t kStepsAProbe = 1'000;
constexpr int kFewDevices = 16;
constexpr std::int64_t kRefinement = 20'000'000;  // nodes times micro-batches: what a node takes grows with them
constexpr std::int64_t kMendingShare = 2;         // part of the probes spent on that
// Assignments that suggest orders: for so many times between the bound and the best plan, though at least so far above
// the bound and with no plan yet so far, with so much warm-up for messages.
constexpr int kTimes = 6;
constexpr int kTimesForAGap = 2;  // between the bound and that far above it
constexpr double kLeastRange = 1.02;
constexpr double kRangeWithoutPlan = 1.3;
constexpr double kStretches[] = {1.0, 1.03, 1.06, 1.1, 1.15};

/// One micro-batch size.
struct Size {
  std::unique_ptr<Instance> instance;
  std::unique_ptr<ChainBuilder> builder;
  std::unique_ptr<PriceBound> prices;
  OrderedChain first;  // of natural orders
  OrderedChain chain;  // of local search
  PriceBound::Proven proven;
};

class Search {
 public:
  Search(const Profile& profile, const SearchOptions& options)
      : profile_(profile),
        options_(options),
        deadline_(options.time_limit, options.stop),
        topology_(profile),
        candidates_(profile, options) {}

  SearchResult run() {
    after_ = least_after_backwards(profile_, topology_, options_.clip);
    make_sizes();
    single_bound_ = offer_single_stage();
    bound_ = single_bound_;
    likely_ = candidates_.best();
    for (const Size& size : sizes_) likely_ = std::min(likely_, size.first.time + after_.all);
    bound_sizes();
    // The size that could be best first: what it finds may spare the others their search.
    std::stable_sort(sizes_.begin(), sizes_.end(),
                     [](const Size& a, const Size& b) { return a.proven.time < b.proven.time; });
    for (const Size& size : sizes_) bound_ = std::min(bound_, size.proven.time);
    for (Size& size : sizes_) {
      tell();
      if (may_go_on() && size.proven.time < candidates_.best() * (1.0 - kTolerance)) improve(size);
    }
    tell();
    if (!is_near_enough()) {
      for (const Size& size : sizes_) offer(*size.instance, size.first);
    }
    if (may_go_on() && candidates_.best() < kInfinity) bound_by_chains();
    tell();
    const double proven = std::min(bound_, candidates_.best());
    if (may_go_on() && profile_.cluster.size() <= kFewDevices) refine();
    if (candidates_.best() == kInfinity) offer_nearest_miss();
    const double bound = std::min(bound_, candidates_.best());
    std::vector<BoundProof> proofs;
    for (Size& size : sizes_) proofs.push_back(std::move(size.proven.proof));
    std::optional<Certificate> certificate;
    if (const Plan* const plan = candidates_.best_plan()) {
      certificate = certify(*plan->prediction, Objective::Iteration, bound, describe_space(profile_, options_));
      certificate->proven_bound = Seconds{std::min(proven, certificate->lower_bound.value)};
      certificate->proofs = std::move(proofs);
    }
    SearchStatistics statistics;
    statistics.expansions = spent_;
    statistics.solve = deadline_.elapsed();
    statistics.complete = !deadline_.has_passed() || is_near_enough();
    return candidates_.result("parametric", statistics, std::move(certificate));
  }

 private:
  [[nodiscard]] bool is_near_enough() const { return candidates_.best() <= bound_ * (1.0 + options_.gap); }
  [[nodiscard]] bool may_go_on() const { return !is_near_enough() && !deadline_.has_passed(); }

  /// What takes about a second by the default budget is scaled with a larger one.
  [[nodiscard]] std::int64_t scaled(std::int64_t steps) const {
    return steps * std::max<std::int64_t>(1, options_.max_expansions / SearchOptions{}.max_expansions);
  }

  void tell() const {
    if (options_.progress) {
      options_.progress({spent_, candidates_.best(), std::min(bound_, candidates_.best()), deadline_.elapsed()});
    }
  }

  void make_sizes() {
    const std::vector<std::int64_t> sizes = micro_batch_sizes(profile_.model, options_);
    std::vector<Bytes> amounts;
    for (const std::int64_t size : sizes) {
      const std::vector<Bytes> of_size = Instance::amounts(profile_.model, size);
      amounts.insert(amounts.end(), of_size.begin(), of_size.end());
    }
    links_ = std::make_unique<LinkTimes>(profile_.cluster, std::move(amounts));
    sizes_.resize(sizes.size());
    const int most = most_stages(profile_, options_);
    share(sizes.size(), [&](std::size_t i) {
      Size& size = sizes_[i];
      size.instance = std::make_unique<Instance>(profile_, topology_, *links_, sizes[i], options_.global_batch);
      size.prices = std::make_unique<PriceBound>(*size.instance, after_.all, most, false);
      size.builder = std::make_unique<ChainBuilder>(*size.instance, size.prices->values(), most);
      size.first = search_orders(*size.builder, {});
    });
    if (std::any_of(sizes_.begin(), sizes_.end(), [](const Size& size) { return !size.first.stages.empty(); })) return;
    sure_to_fit_ = false;  // then at least try
    for (Size& size : sizes_) size.first = search_orders(*size.builder, {.orders = {}, .sure_to_fit = false});
  }

  /// Offers the fastest device that the whole model fits on; returns the least time of any, fitting or not.
  double offer_single_stage() {
    const int layers = static_cast<int>(profile_.model.layers.size());
    double least = kInfinity;
    double best = kInfinity;
    Plan plan;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      const Instance& in = *sizes_[i].instance;
      const std::size_t index = profile_.model.size_index(in.size);
      for (int d = 0; d < profile_.cluster.size(); ++d) {
        const DeviceTimes& alone = profile_.model.device(profile_.cluster.devices[d].type).alone;
        double work = 2.0 * in.overhead;
        double update = in.overhead;
        for (int l = 0; l < layers; ++l) {
          work += alone.by_size[index][l].forward.value + alone.by_size[index][l].backward.value;
          update += alone.update[l].value;
        }
        if (in.fixed_memory(0, layers) + in.saved_of(0, layers) > topology_.memory[d]) continue;
        const double time =
            in.micro_batches * work + update + (options_.clip ? profile_.cluster.norm_exchange.value : 0.0);
        least = std::min(least, time);
        if (time >= best || in.most_memory(0, layers, 1.0) > topology_.memory[d]) continue;
        best = time;
        const std::vector<int> cuts = {0, layers};
        const std::vector<int> depths = {1};
        plan = make_plan(cuts, std::span<const int>(&d, 1), depths, in.size, options_.global_batch, "1f1b");
      }
    }
    if (best < kInfinity) candidates_.offer(std::move(plan));
    return least * (1.0 - 1e-12);
  }

  void bound_sizes() {
    double most = likely_;
    if (most == kInfinity) {
      // No plan yet: none needs longer than one micro-batch after the other through the slowest devices and links.
      most = 0.0;
      for (const Size& size : sizes_) most = std::max(most, size.instance->longest_iteration() + after_.all);
    }
    if (options_.gap == 0.0) {
      share(sizes_.size(), [&](std::size_t i) { ask_prices(sizes_[i], most, kTolerance); });
      return;
    }
    // Of all sizes only the least bound counts: once it is known for one, others are asked for no more than that.
    std::stable_sort(sizes_.begin(), sizes_.end(),
                     [](const Size& a, const Size& b) { return a.first.time < b.first.time; });
    for (Size& size : sizes_) {
      ask_prices(size, most, std::max(kTolerance, kToleranceOfGap * options_.gap));
      most = std::min(most, size.proven.time);
    }
  }

  static void ask_prices(Size& size, double most, double tolerance) {
    PriceBound::Proven proven = size.prices->bound(most, tolerance);
    if (proven.time > size.proven.time) size.proven = std::move(proven);
  }

  void improve(Size& size) {
    const double known = likely_ < kInfinity ? std::max(likely_ / size.proven.time, kLeastRange) : kRangeWithoutPlan;
    const double range = options_.gap > 0.0 ? std::min(known, 1.0 + options_.gap) : known;
    const int times = options_.gap > 0.0 ? kTimesForAGap : kTimes;
    std::vector<std::vector<int>> orders(times * std::size(kStretches));
    share(orders.size(), [&](std::size_t i) {
      const std::size_t step = i / std::size(kStretches) + 1;
      const double time = size.proven.time * std::pow(range, static_cast<double>(step) / times);
      const std::vector<double> depths = size.prices->depths_of_blocks(time, kStretches[i % std::size(kStretches)]);
      orders[i].resize(depths.size());
      std::iota(orders[i].begin(), orders[i].end(), 0);
      std::stable_sort(orders[i].begin(), orders[i].end(), [&](int a, int b) { return depths[a] < depths[b]; });
    });
    const double rest = size.proven.time - after_.all - size.prices->round_trip();
    const double period = rest / std::max(1.0, size.instance->micro_batches - 1.0);
    const bool leaves_it_to_chains = options_.gap == 0.0 && profile_.cluster.size() <= kDevicesForChains;
    const std::int64_t probes = std::min({options_.max_expansions, scaled(kDeviceSteps / profile_.cluster.size()),
                                          scaled(kProbesABlock * static_cast<std::int64_t>(topology_.blocks.size()))}) /
                                (leaves_it_to_chains ? kChainsShare : 1);
    const double enough = options_.gap > 0.0 ? bound_ * (1.0 + options_.gap) - after_.all : 0.0;
    const auto is_enough = [&](const OrderedChain& chain) {
      offer(*size.instance, chain);
      return is_near_enough();
    };
    OrderOptions first{orders, period, probes, 1, 1.0, sure_to_fit_, enough, is_enough, {}};
    first.is_over = [&] { return deadline_.has_passed(); };
    std::atomic<bool> stop{false};
    OrderOptions second = first;
    second.seed = 2;
    second.enough = 0.0;
    second.is_over = [&] { return stop || deadline_.has_passed(); };
    auto other = std::async(std::launch::async, search_orders, std::cref(*size.builder), std::move(second));
    size.chain = search_orders(*size.builder, first);
    spent_ += size.chain.probes;
    if (size.chain.time > enough) offer(*size.instance, size.chain);  // else it was asked for
    if (!is_near_enough()) mend(size, first);
    // What the other one finds is taken whole or not at all, so that the result does not depend on their speeds.
    stop = is_near_enough();
    size.chain = other.get();
    if (is_near_enough()) return;
    spent_ += size.chain.probes;
    offer(*size.instance, size.chain);
    mend(size, first);
  }

  /// Stages need a little more than the chain's estimate where messages pile up in front of slow stages: then the same
  /// order of blocks with some memory to spare, searched otherwise as by `options`.
  void mend(Size& size, OrderOptions options) {
    options.probes /= kMendingShare;
    for (const double memory : kShares) {
      if (size.chain.stages.empty() || candidates_.best() < size.chain.time * kWorthReplaying) return;
      std::vector<int> order;
      const auto append = [&](int block) {
        if (std::find(order.begin(), order.end(), block) == order.end()) order.push_back(block);
      };
      for (const ChainStage& stage : size.chain.stages) append(topology_.block[stage.device]);
      for (int block = 0; block < static_cast<int>(topology_.blocks.size()); ++block) append(block);
      options.orders = {order};
      options.memory_share = memory;
      size.chain = search_orders(*size.builder, options);
      spent_ += size.chain.probes;
      if (size.chain.time > options.enough) offer(*size.instance, size.chain);
    }
  }

  void offer(const Instance& in, const OrderedChain& chain) {
    if (chain.stages.empty() || chain.time + after_.all > candidates_.best() * kWorthReplaying) return;
    offer(in, chain.stages);
  }

  void offer(const Instance& in, std::span<const ChainStage> stages) {
    std::vector<int> cuts = {0};
    std::vector<int> devices;
    std::vector<int> depths;
    for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
      cuts.push_back(stage->end);
      devices.push_back(stage->device);
      depths.push_back(stage->depth);
    }
    candidates_.offer(make_plan(cuts, devices, depths, in.size, options_.global_batch, "1f1b"));
  }

  /// Raises the bounds of the sizes that may have a better plan, the lowest first, as far as is near enough, and offers
  /// the chains that are plans.
  void bound_by_chains() {
    const int most = most_stages(profile_, options_);
    const double tolerance = options_.gap > 0.0 ? kToleranceOfGap * options_.gap : kToleranceOfChains;
    std::int64_t budget = std::min(scaled(options_.gap > 0.0 ? kChainStepsForAGap : kChainSteps),
                                   kStepsAProbe * (options_.max_expansions - spent_));
    double bound = single_bound_;
    for (Size& size : sizes_) {
      const Instance& in = *size.instance;
      // ChainBound stops its tolerance short of what it is asked for.
      const double enough = candidates_.best() / (1.0 + options_.gap) / (1.0 - 1.01 * tolerance);
      const double wanted = std::min({bound, candidates_.best(), enough});
      // Where any gap is enough, prices were asked neither for as much nor as closely.
      if (size.proven.time < wanted && options_.gap > 0.0) ask_prices(size, wanted, kTolerance);
      if (size.proven.time < wanted && budget > 0 && ChainBound::knows(in, most)) {
        ChainBound chains(in, after_, most, [&] { return deadline_.has_passed(); });
        const auto visit = [&](std::span<const ChainStage> stages) {
          offer(in, stages);
          return candidates_.best();
        };
        ChainBound::Proven proven = chains.bound(size.proven.time, wanted, tolerance, budget, visit);
        size.proven.time = proven.time;
        size.proven.proof.chains = std::move(proven.proof);
        budget -= chains.steps();
        spent_ += chains.chains();
      }
      bound = std::min(bound, size.proven.time);
    }
    bound_ = std::max(bound_, bound);
  }

  /// Few devices are searched by "exact" as well, for what is left of the budget.
  void refine() {
    SearchOptions rest = options_;
    const std::int64_t micro_batches = options_.global_batch / micro_batch_sizes(profile_.model, options_).front();
    rest.max_expansions = std::min(scaled(kRefinement) / micro_batches, options_.max_expansions - spent_);
    if (rest.max_expansions <= 0) return;
    rest.time_limit = deadline_.left();
    rest.progress = {};
    const SearchResult result = plan_exact(profile_, rest);
    const Found* const found = std::get_if<Found>(&result);
    if (found == nullptr) return;
    spent_ += found->statistics.expansions;
    bound_ = std::max(bound_, found->plan.certificate->lower_bound.value);
    candidates_.offer(found->plan);
  }

  /// Equal shares of the layers on the devices with the most memory, for a few numbers of stages.
  void offer_nearest_miss() {
    std::vector<int> by_memory(topology_.memory.size());
    std::iota(by_memory.begin(), by_memory.end(), 0);
    std::stable_sort(by_memory.begin(), by_memory.end(),
                     [&](int a, int b) { return topology_.memory[a] > topology_.memory[b]; });
    const int layers = static_cast<int>(profile_.model.layers.size());
    const std::int64_t size = micro_batch_sizes(profile_.model, options_).front();
    for (int stages = 1; stages <= most_stages(profile_, options_); stages *= 2) {
      std::vector<int> cuts;
      for (int s = 0; s <= stages; ++s) cuts.push_back(static_cast<int>(std::int64_t{layers} * s / stages));
      candidates_.offer(make_plan(cuts, std::span(by_memory).first(stages), textbook_warm_up(stages), size,
                                  options_.global_batch, "1f1b"));
    }
  }

  const Profile& profile_;
  const SearchOptions& options_;
  Deadline deadline_;
  Topology topology_;
  Candidates candidates_;
  AfterBackwards after_;
  double single_bound_ = kInfinity;  // of plans of one stage
  double bound_ = kInfinity;         // of all plans
  double likely_ = kInfinity;        // of the best plan that was seen before local search, not replayed
  std::int64_t spent_ = 0;
  bool sure_to_fit_ = true;
  std::unique_ptr<LinkTimes> links_;
  std::vector<Size> sizes_;
};

}  // namespace
}  // namespace parametric

SearchResult plan_parametric(const Profile& profile, const SearchOptions& options) {
  const std::string unknown = !options.any_order                                      ? "a fixed order of devices"
                              : options.use_all_devices                               ? "all devices used"
                              : !options.allow.empty()                                ? "allow"
                              : options.schedules != std::vector<std::string>{"1f1b"} ? "another schedule"
                              : options.objective != Objective::Iteration             ? "another objective"
                                                                                      : "";
  if (!unknown.empty()) {
    throw InputError::of(
        "planner parametric: found {}, expected the iteration time of 1f1b on any devices in any order, one a stage; "
        "planner exact knows more",
        unknown);
  }
  return parametric::Search(profile, options).run();
}

}  // namespace motley

#include "motley/runtime/step_exchange.h"

#include <algorithm>
#include <cmath>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr std::size_t kTimes = 3;
constexpr std::size_t kSignals = 2;

}  // namespace

StepExchange::StepExchange(Communicator& communicator, const Workload& workload)
    : communicator_(communicator),
      workload_(workload),
      layers_(workload.layers.size()),
      mine_(layers_ + 1 + kTimes + kSignals),
      all_(mine_.size() * static_cast<std::size_t>(communicator.size())) {}

void StepExchange::count(int stage, bool here) {
  if (!here) {
    elsewhere_.insert(stage);
  }
}

double StepExchange::gathered(std::size_t rank, std::size_t column) const {
  return all_[rank * mine_.size() + column];
}

double StepExchange::sum_over_ranks(std::size_t column) const {
  // All but one are 0, which changes no bit; but for the losses of a replicated last stage.
  double sum = 0.0;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator_.size()); ++rank) {
    sum += gathered(rank, column);
  }
  return sum;
}

StepTotals StepExchange::run(std::int64_t step, const std::map<int, Stage*>& stages,
                             const std::optional<RankTimes>& last_times, const StepSignals& signals,
                             Timeline& timeline) {
  std::fill(mine_.begin(), mine_.end(), 0.0);
  for (const auto& [index, stage] : stages) {
    if (!elsewhere_.contains(index)) {
      const std::vector<double> norms = stage->squared_norms();
      std::copy(norms.begin(), norms.end(), mine_.begin() + stage->first());
    }
    for (const double micro_batch_loss : stage->take_loss()) {
      mine_[layers_] += micro_batch_loss;
    }
  }
  if (last_times) {
    mine_[layers_ + 1] = last_times->busy.value;
    mine_[layers_ + 2] = last_times->waiting.value;
    mine_[layers_ + 3] = last_times->transfer.value;
  }
  const std::size_t durable = layers_ + 1 + kTimes;
  const std::size_t stop = durable + 1;
  mine_[durable] = static_cast<double>(signals.durable);
  mine_[stop] = signals.stop ? 1.0 : 0.0;

  const Seconds start = communicator_.now();
  communicator_.world().all_gather(std::as_bytes(std::span(mine_)), std::as_writable_bytes(std::span(all_)), "NORM");
  timeline.waited("NORM", start, communicator_.now());

  StepTotals totals;
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    totals.squared_norm += sum_over_ranks(layer);
  }
  totals.loss = sum_over_ranks(layers_);
  expect_finite(step, totals.loss, totals.squared_norm);
  totals.signals = signals;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator_.size()); ++rank) {
    totals.signals.durable = std::min(totals.signals.durable, static_cast<std::int64_t>(gathered(rank, durable)));
    totals.signals.stop = totals.signals.stop || gathered(rank, stop) > 0.0;
  }
  if (last_times) {
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(communicator_.size()); ++rank) {
      totals.ranks.push_back({Seconds{gathered(rank, layers_ + 1)}, Seconds{gathered(rank, layers_ + 2)},
                              Seconds{gathered(rank, layers_ + 3)}});
    }
  }
  return totals;
}

void StepExchange::expect_finite(std::int64_t step, double loss, double squared_norm) const {
  if (std::isfinite(loss) && std::isfinite(squared_norm)) {
    return;
  }
  std::string where = fmt::format("the loss, in layer {},", workload_.layers.back()->name());
  if (std::isfinite(loss)) {
    // Backward passes go down: the last layer that is not finite was the first to be so.
    for (std::size_t layer = 0; layer < layers_; ++layer) {
      if (!std::isfinite(sum_over_ranks(layer))) {
        where = fmt::format("the gradient of layer {}", workload_.layers[layer]->name());
      }
    }
  }
  const std::string kept =
      step == 0 ? "parameters are as they began" : fmt::format("parameters are those of step {}", step - 1);
  throw Fault::of("step {}: {} is not finite (loss sum {}, squared gradient norm {}); {}", step, where, loss,
                  squared_norm, kept);
}

}  // namespace motley

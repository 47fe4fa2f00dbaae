// What the engine itself costs: CPU time of the thread that runs a row of actions, sleeps excluded because only CPU
// time is counted, and the same layers' CPU time in a plain loop subtracted. Two ranks as threads, 1F1B, boundary
// tensors of 4 KB, layers of one multiplication each. The same messages through bare channels stand beside it.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "comm/ranks.h"
#include "motley/runtime/executor.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"

namespace {

using namespace motley;

constexpr std::int64_t kSamples = 32;  // a micro-batch
constexpr std::int64_t kWidth = 32;    // floats a sample: 4 KB a boundary tensor
constexpr int kMicroBatches = 64;
constexpr int kRounds = 40;
constexpr int kWarmUp = 5;

double thread_cpu_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) * 1e-3;
}

class Scale : public Layer {
 public:
  std::string name() const override { return "scale"; }
  std::vector<ParameterSpec> parameters() const override {
    return {{"factor", {kWidth}, ParameterSpec::Init::Ones, 1.0, false}};
  }
  Boundary output(const Boundary& /*input*/) const override { return {{"hidden", {kWidth}, DType::Float32, true}}; }
  TensorList forward(const TensorList& input, LayerContext& context) const override {
    return {input[0] * context.parameters[0]};
  }
};

class First final : public Scale {
 public:
  std::vector<std::string> reads() const override { return {"x"}; }
  TensorList forward(const TensorList& /*input*/, LayerContext& context) const override {
    return {field_of(context, *this, "x") * context.parameters[0]};
  }
};

class Last final : public Scale {
 public:
  Boundary output(const Boundary& /*input*/) const override { return {}; }
  TensorList forward(const TensorList& input, LayerContext& context) const override {
    return {(input[0] * context.parameters[0]).sum()};
  }
};

/// One tensor, made once, for every sample asked for.
class Constant final : public DataSource {
 public:
  std::int64_t size(Split /*split*/) const override { return kSamples * kMicroBatches; }
  std::vector<std::string> fields() const override { return {"x"}; }
  Fields fetch(std::span<const std::string> names, Split /*split*/,
               std::span<const std::int64_t> /*samples*/) const override {
    Fields fields;
    for (const std::string& name : names) {
      fields[name] = ones_;
    }
    return fields;
  }

 private:
  at::Tensor ones_ = at::ones({kSamples, kWidth});
};

Workload tiny() {
  return {"tiny", {std::make_shared<First>(), std::make_shared<Last>()}, std::make_shared<Constant>()};
}

struct Cost {
  std::vector<double> layers_us, engine_us, channel_us;  // an action, an action, a message
};

/// CPU of one stage's layers over a step, without engine: what the executor asks of the stage, nothing else.
double layers_step_us(const Workload& workload, Stage& stage) {
  const at::Tensor boundary = at::ones({kSamples, kWidth});
  const std::vector<std::int64_t> samples(kSamples, 0);
  const double start = thread_cpu_us();
  for (int m = 0; m < kMicroBatches; ++m) {
    Fields fields;
    if (!stage.reads().empty()) {
      fields = workload.data->fetch(stage.reads(), Split::Train, samples);
    }
    (void)stage.forward(m, 0, stage.first() == 0 ? TensorList{} : TensorList{boundary.clone()}, fields, true);
    (void)stage.backward(m, stage.is_last() ? TensorList{} : TensorList{boundary.clone()}, 1.0);
  }
  (void)stage.squared_norms();
  (void)stage.take_loss();
  stage.update(0, 1.0);
  return thread_cpu_us() - start;
}

/// The step's messages through bare channels: every one posted and waited for.
double channels_step_us(Communicator& communicator, std::vector<char>& out, std::vector<char>& in) {
  const int peer = 1 - communicator.rank();
  const double start = thread_cpu_us();
  for (int m = 0; m < kMicroBatches; ++m) {
    Work received = communicator.from(peer).receive(bytes_of(in), "receive");
    communicator.to(peer).send(bytes_of(std::as_const(out)), "send").wait();
    received.wait();
  }
  return thread_cpu_us() - start;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

void print(const char* what, const std::vector<double>& values) {
  fmt::print("  {:<44} {:6.1f} us   quartiles {:.1f} to {:.1f}\n", what, quantile(values, 0.5), quantile(values, 0.25),
             quantile(values, 0.75));
}

}  // namespace

int main() {
  at::set_num_threads(1);
  const Workload workload = tiny();
  const Schedule lowered = add_transfers(with_updates(one_f_one_b(2, kMicroBatches), true));
  std::vector<Cost> costs(2);
  run_ranks(2, with_deadline(30), [&](Communicator& communicator) {
    at::set_num_threads(1);
    const int rank = communicator.rank();
    const std::vector<Boundary> boundaries = boundaries_of(workload);
    Stage stage(workload, rank, rank + 1, boundaries[static_cast<std::size_t>(rank)], 1, {});
    Stage alone(workload, rank, rank + 1, boundaries[static_cast<std::size_t>(rank)], 1, {});
    ExecutorOptions options;
    options.micro_batch_size = kSamples;
    Executor executor(communicator, workload, {{rank, &stage}}, lowered, options, Pacer());
    const std::vector<std::int64_t> samples(static_cast<std::size_t>(kSamples * kMicroBatches), 0);
    std::vector<char> out(kSamples * kWidth * sizeof(float)), in(out.size());
    const auto actions = static_cast<double>(executor.actions().size());
    Cost& cost = costs[static_cast<std::size_t>(rank)];
    for (int round = -kWarmUp; round < kRounds; ++round) {
      const double layers_us = layers_step_us(workload, alone);
      const double channels_us = channels_step_us(communicator, out, in);
      const double start = thread_cpu_us();
      (void)executor.train(0, samples);
      const double step_us = thread_cpu_us() - start;
      if (round >= 0) {
        cost.layers_us.push_back(layers_us / actions);
        cost.engine_us.push_back((step_us - layers_us) / actions);
        cost.channel_us.push_back(channels_us / (2.0 * kMicroBatches));
      }
    }
  });
  for (std::size_t rank = 0; rank < costs.size(); ++rank) {
    fmt::print("rank {}: {} actions a step, boundary tensors of {} bytes, medians of {} steps\n", rank,
               lowered.ranks[rank].size(), kSamples * kWidth * static_cast<std::int64_t>(sizeof(float)), kRounds);
    print("layers in a plain loop, an action", costs[rank].layers_us);
    print("engine on top of them, an action", costs[rank].engine_us);
    print("bare channel, a message", costs[rank].channel_us);
    fmt::print("  engine, an action / bare channel, a message  {:6.2f}\n",
               quantile(costs[rank].engine_us, 0.5) / quantile(costs[rank].channel_us, 0.5));
  }
}

#include "motley/profiler/layers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "motley/base/error.h"
#include "motley/base/median.h"
#include "motley/base/thread_time.h"

namespace motley {
namespace {

Seconds now() {
  return {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}

Bytes bytes_of(const TensorList& tensors) {
  Bytes total;
  for (const at::Tensor& tensor : tensors) {
    total.value += static_cast<std::int64_t>(tensor.nbytes());
  }
  return total;
}

Bytes at_least_zero(Bytes bytes) {
  return std::max(bytes, Bytes{0});
}

}  // namespace

struct LayerMeter::Samples {
  explicit Samples(std::size_t layers)
      : forward(layers), backward(layers), backward_input(layers), backward_weight(layers), update(layers) {}

  std::vector<std::vector<double>> forward, backward, backward_input, backward_weight,
      update;                        // [layer][pass], seconds
  std::vector<double> passes;        // forward + backward of the whole chain, seconds
  std::vector<double> split_passes;  // the same with backward_input and backward_weight apart
  std::vector<double> update_passes;
};

LayerMeter::LayerMeter(const Workload& workload, ComputeDevice& device, Pacer pacer, std::uint64_t seed,
                       const OptimizerOptions& optimizer, std::vector<std::int64_t> micro_batch_sizes)
    : workload_(workload),
      device_(device),
      boundaries_(boundaries_of(workload)),
      sizes_(std::move(micro_batch_sizes)),
      pacer_(pacer) {
  for (std::size_t layer = 0; layer < workload.layers.size(); ++layer) {
    stages_.push_back(std::make_unique<Stage>(workload, static_cast<int>(layer), static_cast<int>(layer) + 1,
                                              boundaries_[layer], seed, optimizer, device.tensors(), device.kernels()));
  }
}

Fields LayerMeter::fields(const Stage& stage, std::int64_t size) const {
  if (stage.reads().empty()) {
    return {};
  }
  std::vector<std::int64_t> samples(static_cast<std::size_t>(size));
  std::iota(samples.begin(), samples.end(), 0);
  const std::int64_t available = workload_.data->size(Split::Train);
  for (std::int64_t& sample : samples) {
    sample %= available;
  }
  Fields fields = workload_.data->fetch(stage.reads(), Split::Train, samples);
  for (auto& [name, tensor] : fields) {
    tensor = tensor.to(device_.tensors());
  }
  return fields;
}

std::vector<LayerProfile> LayerMeter::memory() {
  std::vector<LayerProfile> profiles(stages_.size());
  for (std::size_t layer = 0; layer < stages_.size(); ++layer) {
    profiles[layer].name = workload_.layers[layer]->name();
    profiles[layer].parameters = stages_[layer]->parameter_bytes();
    profiles[layer].optimizer_state = stages_[layer]->optimizer_bytes();
    profiles[layer].output = boundaries_[layer + 1];
  }
  for (const std::int64_t size : sizes_) {
    for (LayerProfile& profile : profiles) {
      profile.memory.emplace_back();
    }
    for (const bool split : {false, true}) {
      measure_memory(size, split, profiles);
    }
  }
  return profiles;
}

void LayerMeter::pass(std::int64_t size, bool split, std::int64_t step, Samples& samples) {
  // How a pass divides among layers: on a host by processor time, since one whose share is cut off now and then stands
  // still within any layer, some times as long as a layer takes. On a GPU by its own clock, as work follows on work in
  // training: waiting for each layer would add the time that it takes to ask for the next. Where a speed is emulated, a
  // layer must be done before it is slowed down.
  const bool on_host = device_.compute() == nullptr;
  const bool by_stamps = !on_host && !pacer_.emulates();
  struct Stamped {
    std::vector<double>* into;
    ComputeDevice::Stamp start;
    ComputeDevice::Stamp end;
  };
  std::vector<Stamped> stamped;
  const auto clock = [&] { return on_host ? thread_time() : now(); };
  const auto timed = [&](std::vector<double>& into, auto&& work) {
    if (by_stamps) {
      const ComputeDevice::Stamp start = device_.stamp();
      auto made = work();
      stamped.push_back({&into, start, device_.stamp()});
      return made;
    }
    const Seconds start = clock();
    auto result = pacer_.run([&] {
      auto made = work();
      device_.finish();
      return made;
    });
    into.push_back((clock() - start).value);
    return result;
  };
  const auto settled = [&] {
    device_.finish();
    for (const Stamped& layer : stamped) {
      layer.into->push_back((device_.time_of(layer.end) - device_.time_of(layer.start)).value);
    }
    stamped.clear();
    device_.forget_stamps();
    return now();
  };
  const Seconds begin = now();
  TensorList input;
  for (std::size_t layer = 0; layer < stages_.size(); ++layer) {
    Stage& stage = *stages_[layer];
    TensorList output = timed(samples.forward[layer], [&] {
      const Fields data = fields(stage, size);
      return stage.forward(0, step, std::move(input), data, true);
    });
    input = std::move(output);
  }
  TensorList gradient;
  for (std::size_t layer = stages_.size(); layer-- > 0;) {
    Stage& stage = *stages_[layer];
    if (split) {
      gradient =
          timed(samples.backward_input[layer], [&] { return stage.backward_input(0, std::move(gradient), 1e-3); });
    } else {
      gradient = timed(samples.backward[layer], [&] { return stage.backward(0, std::move(gradient), 1e-3); });
    }
  }
  // Weight gradients later, as in training: what they need has left the caches by then.
  for (std::size_t layer = stages_.size(); split && layer-- > 0;) {
    timed(samples.backward_weight[layer], [&] {
      stages_[layer]->backward_weight(0);
      return true;
    });
  }
  const Seconds begin_update = settled();
  (split ? samples.split_passes : samples.passes).push_back((begin_update - begin).value);
  for (std::size_t layer = 0; layer < stages_.size(); ++layer) {
    timed(samples.update[layer], [&] {
      stages_[layer]->start_norms();
      stages_[layer]->update(step, 1.0);
      return true;
    });
  }
  samples.update_passes.push_back((settled() - begin_update).value);
  for (const auto& stage : stages_) (void)stage->take_loss();
}

void LayerMeter::measure_memory(std::int64_t size, bool split, std::vector<LayerProfile>& profiles) {
  const Bytes before_all = device_.memory().live;
  // Forward down the chain, only each layer's output held: what stays alive beyond it is what the layer saved.
  TensorList input;
  for (std::size_t layer = 0; layer < stages_.size(); ++layer) {
    LayerMemory& entry = profiles[layer].memory.back();
    const Bytes live = device_.memory().live;
    const Bytes without_input = live - bytes_of(input);
    device_.reset_peak();
    TensorList output;
    {
      const Fields data = fields(*stages_[layer], size);
      output = stages_[layer]->forward(0, 0, std::move(input), data, true);
      input.clear();
    }
    const ComputeDevice::Memory after = device_.memory();
    entry.saved = at_least_zero(after.live - without_input - bytes_of(output));
    entry.forward_peak = std::max(entry.forward_peak, after.peak - without_input);
    input = std::move(output);
  }
  input.clear();
  TensorList gradient;
  for (std::size_t layer = stages_.size(); layer-- > 0;) {
    Stage& stage = *stages_[layer];
    LayerMemory& entry = profiles[layer].memory.back();
    const Bytes live = device_.memory().live;
    const Bytes kept = live - bytes_of(gradient) - entry.saved;  // by the layers below
    device_.reset_peak();
    TensorList below =
        split ? stage.backward_input(0, std::move(gradient), 1.0) : stage.backward(0, std::move(gradient), 1.0);
    gradient.clear();
    const ComputeDevice::Memory after = device_.memory();
    if (split) {
      entry.queued = at_least_zero(after.live - bytes_of(below) - kept);
      entry.backward_input_peak = after.peak - kept;
      device_.reset_peak();
      stage.backward_weight(0);
      entry.backward_weight_peak = device_.memory().peak - after.live + entry.queued;
    } else {
      entry.backward_peak = after.peak - kept;
    }
    gradient = std::move(below);
  }
  gradient.clear();
  for (const auto& stage : stages_) {
    (void)stage->take_loss();
    stage->abandon_step();
  }
  MOTLEY_CHECK(device_.memory().live == before_all, "measuring memory left {} bytes behind",
               (device_.memory().live - before_all).value);
}

std::vector<LayerTimes> LayerMeter::times_of(const Samples& samples) {
  std::vector<LayerTimes> times(samples.forward.size());
  double forward_s = 0.0;
  double backward_s = 0.0;
  double apart_s = 0.0;
  for (std::size_t layer = 0; layer < times.size(); ++layer) {
    const Spread forward = spread_of(samples.forward[layer]);
    const Spread backward = spread_of(samples.backward[layer]);
    const Spread input = spread_of(samples.backward_input[layer]);
    const Spread weight = spread_of(samples.backward_weight[layer]);
    times[layer] = {Seconds{forward.median}, Seconds{input.median}, Seconds{weight.median}, Seconds{backward.median},
                    std::max({forward.relative, backward.relative, input.relative, weight.relative})};
    forward_s += forward.median;
    backward_s += backward.median;
    apart_s += input.median + weight.median;
  }
  // The medians say how a pass divides, the passes how long it is: a host works only part of it, and where a layer's
  // times are skewed the sum of medians is less than what a pass takes.
  const double fused = spread_of(samples.passes).median / (forward_s + backward_s);
  const double split_backward_s = spread_of(samples.split_passes).median - fused * forward_s;
  // On a machine that others use, passes of one kind may all have been quicker than the other kind's forwards alone.
  const double apart = split_backward_s > 0.0 ? split_backward_s / apart_s : fused;
  for (LayerTimes& t : times) {
    t.forward = t.forward * fused;
    t.backward = t.backward * fused;
    t.backward_input = t.backward_input * apart;
    t.backward_weight = t.backward_weight * apart;
  }
  return times;
}

MeasuredTimes LayerMeter::times(std::int64_t repeats, const std::function<bool()>& enough) {
  std::vector<Samples> samples(sizes_.size(), Samples(stages_.size()));
  {
    Samples warm_up(stages_.size());
    for (const std::int64_t size : sizes_) {
      pass(size, false, 0, warm_up);
      pass(size, true, 0, warm_up);
    }
  }
  // Sizes take turns, so that a disturbance of seconds does not fall on one of them alone.
  std::int64_t done = 0;
  do {
    for (std::size_t size = 0; size < sizes_.size(); ++size) {
      pass(sizes_[size], false, done, samples[size]);
      pass(sizes_[size], true, done, samples[size]);
    }
    ++done;
  } while (done < repeats || !enough());

  MeasuredTimes measured;
  measured.times.update.resize(stages_.size());
  for (std::size_t size = 0; size < sizes_.size(); ++size) {
    measured.times.by_size.push_back(times_of(samples[size]));
    measured.spread = std::max(measured.spread, spread_of(samples[size].passes).relative);
  }
  double update_s = 0.0;
  std::vector<double> passes;
  for (const Samples& of_size : samples) {
    passes.insert(passes.end(), of_size.update_passes.begin(), of_size.update_passes.end());
  }
  for (std::size_t layer = 0; layer < stages_.size(); ++layer) {
    std::vector<double> all;
    for (const Samples& of_size : samples) {
      all.insert(all.end(), of_size.update[layer].begin(), of_size.update[layer].end());
    }
    measured.times.update[layer] = {spread_of(all).median};
    update_s += measured.times.update[layer].value;
  }
  for (Seconds& update : measured.times.update) {
    update = update * (spread_of(passes).median / update_s);
  }
  return measured;
}

}  // namespace motley

// What it costs to compute weight gradients apart: I + W over B, and B over plain LibTorch autograd of the same net.
// Rounds interleave the three, so that a busy machine slows all of them alike; ratios are taken per round.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "motley/device/host_memory.h"
#include "motley/stage/stage.h"

namespace {

using namespace motley;

// CPU time of this thread: other programs on the machine do not count.
double cpu_ms() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

template <typename Work>
double timed_ms(Work&& work) {
  const double start_ms = cpu_ms();
  work();
  return cpu_ms() - start_ms;
}

struct Spread {
  double low, median, high;  // quartiles
};

Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 4], values[values.size() / 2], values[values.size() * 3 / 4]};
}

void measure(const std::string& name, const std::string& keys, std::int64_t samples, int rounds) {
  const Workload workload = builtin_workloads().make({.name = name, .options = workload_options(keys), .folder = {}});
  Stage stage(workload, 0, static_cast<int>(workload.layers.size()), {}, 1, {});
  const auto chosen = samples_of_step(1, 0, samples, workload.data->size(Split::Train));
  const Fields fields = workload.data->fetch(stage.reads(), Split::Train, chosen);
  const double scale = 1.0 / static_cast<double>(samples);
  std::vector<double> apart, fused, plain, apart_ratio, plain_ratio;
  for (int round = -2; round < rounds; ++round) {
    (void)stage.forward(0, 0, {}, fields, true);
    const double apart_ms = timed_ms([&] {
      (void)stage.backward_input(0, {}, scale);
      stage.backward_weight(0);
    });
    stage.abandon_step();
    (void)stage.forward(0, 0, {}, fields, true);
    const double fused_ms = timed_ms([&] { (void)stage.backward(0, {}, scale); });
    stage.abandon_step();

    TensorList tensors;
    for (const LayerState& layer : stage.layers()) {
      LayerContext context{
          .parameters = layer.parameters(), .fields = &fields, .random = {1, 0, layer.index(), 0, 0}, .training = true};
      tensors = layer.layer().forward(tensors, context);
      // Gradients are summed into buffers that exist, as the stage's are.
      for (std::size_t p = 0; p < layer.parameters().size(); ++p) {
        layer.parameters()[p].mutable_grad() = layer.gradients()[p];
      }
    }
    const at::Tensor loss = tensors[0] * scale;
    tensors.clear();
    const double plain_ms = timed_ms([&] { loss.backward(); });
    stage.abandon_step();
    if (round >= 0) {
      apart.push_back(apart_ms);
      fused.push_back(fused_ms);
      plain.push_back(plain_ms);
      apart_ratio.push_back(apart_ms / fused_ms);
      plain_ratio.push_back(fused_ms / plain_ms);
    }
  }
  const Spread iw = spread(apart_ratio);
  const Spread b = spread(plain_ratio);
  fmt::print("{:<12} {:>4} samples: B {:.2f} ms, I + W {:.2f} ms, plain autograd {:.2f} ms (medians of {})\n", name,
             samples, spread(fused).median, spread(apart).median, spread(plain).median, rounds);
  fmt::print("  (I + W) / B   {:.3f}  quartiles {:.3f} to {:.3f}\n", iw.median, iw.low, iw.high);
  fmt::print("  B / plain     {:.3f}  quartiles {:.3f} to {:.3f}\n", b.median, b.low, b.high);
}

}  // namespace

int main() {
  at::set_num_threads(1);
  (void)motley::HostMemory::install();
  measure("router", "data = \"synthetic\"\nsamples = 512\nwidth = 256\nblocks = 6", 8, 60);
  measure("router", "data = \"synthetic\"\nsamples = 512\nwidth = 256\nblocks = 6", 32, 60);
  measure("router", "data = \"synthetic\"\nsamples = 512\nwidth = 512\nblocks = 4", 64, 30);
  measure("transformer", "width = 128\nblocks = 3\nsequence = 64", 8, 30);
}

// Kernels on a GPU against its roofline: what the memory's clock and width allow, and for products what the multipliers
// do. A copy within the device's memory, measured in the same run, says how much of that is to be had.
// Usage: bench_kernels_cuda   (on the first GPU that CUDA_VISIBLE_DEVICES leaves)
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "motley/kernels/adamw/adamw.cuh"
#include "motley/kernels/bfloat16/bfloat16.cuh"
#include "motley/kernels/boundary_codec/boundary_codec.cuh"
#include "motley/kernels/dropout/dropout.cuh"
#include "motley/kernels/router_score/router_score.cuh"
#include "motley/kernels/sgd/sgd.cuh"
#include "motley/kernels/squared_norm/squared_norm.cuh"

namespace {

using namespace motley::kernels;
using namespace motley::kernels::cuda;

void check(int error) {
  if (error != 0) {
    throw std::runtime_error(cudaGetErrorString(static_cast<cudaError_t>(error)));
  }
}

/// Device memory, zero at first.
template <typename Value>
class Array {
 public:
  explicit Array(std::size_t size) {
    check(cudaMalloc(&data_, size * sizeof(Value) + 16));
    check(cudaMemset(data_, 0, size * sizeof(Value)));
  }
  explicit Array(const std::vector<Value>& values) : Array(values.size()) {
    check(cudaMemcpy(data_, values.data(), values.size() * sizeof(Value), cudaMemcpyDefault));
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { cudaFree(data_); }
  Value* get() const { return static_cast<Value*>(data_); }

 private:
  void* data_ = nullptr;
};

struct Roofline {
  double bytes_per_second;
  double flops_per_second;  // float32, a product and a sum at once
};

Roofline roofline() {
  int device = 0;
  check(cudaGetDevice(&device));
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device));
    return static_cast<double>(value);
  };
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device));
  const int capability = properties.major * 10 + properties.minor;
  const double lanes =
      capability == 75 || capability == 80 ? 64 : 128;  // CUDA C Programming Guide, compute capabilities
  const Roofline roof{2e3 * attribute(cudaDevAttrMemoryClockRate) * attribute(cudaDevAttrGlobalMemoryBusWidth) / 8,
                      2e3 * lanes * attribute(cudaDevAttrClockRate) * attribute(cudaDevAttrMultiProcessorCount)};
  std::printf("%s, sm_%d: %.0f GB/s, %.1f TFLOP/s float32 by its clocks\n", properties.name, capability,
              roof.bytes_per_second * 1e-9, roof.flops_per_second * 1e-12);
  return roof;
}

/// Prints median and quartiles of the time of a launch, and what they are of the roofline.
void measure(const Roofline& roof, const std::string& name, double bytes, double flops,
             const std::function<int()>& work) {
  cudaEvent_t start = nullptr;
  cudaEvent_t end = nullptr;
  check(cudaEventCreate(&start));
  check(cudaEventCreate(&end));
  constexpr int kLaunches = 10;
  std::vector<double> seconds;
  for (int round = -2; round < 21; ++round) {
    check(cudaEventRecord(start));
    for (int i = 0; i < kLaunches; ++i) {
      check(work());
    }
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    float milliseconds = 0.0F;
    check(cudaEventElapsedTime(&milliseconds, start, end));
    if (round >= 0) {
      seconds.push_back(milliseconds * 1e-3 / kLaunches);
    }
  }
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  std::sort(seconds.begin(), seconds.end());
  const double low = seconds[seconds.size() / 4];
  const double median = seconds[seconds.size() / 2];
  const double high = seconds[seconds.size() * 3 / 4];
  std::printf("  %-36s %9.1f us (%.1f to %.1f)  %7.1f GB/s, %5.1f %% of the roofline", name.c_str(), median * 1e6,
              low * 1e6, high * 1e6, bytes / median * 1e-9, 100.0 * bytes / median / roof.bytes_per_second);
  if (flops > 0) {
    std::printf("; %6.2f TFLOP/s, %5.1f %%", flops / median * 1e-12, 100.0 * flops / median / roof.flops_per_second);
  }
  std::printf("\n");
}

void bench_memory(const Roofline& roof, std::size_t n) {
  const auto count = static_cast<double>(n);
  const Array<float> parameter(n), gradient(n), mean(n), square(n);
  const Array<std::uint16_t> half(n), half_gradient(n);
  std::printf("%zu values\n", n);
  measure(roof, "copy within the device (8 bytes)", 8 * count, 0, [&] {
    return static_cast<int>(cudaMemcpyAsync(mean.get(), parameter.get(), 4 * n, cudaMemcpyDeviceToDevice));
  });

  std::vector<DecayRun> runs;
  for (std::size_t end = 0; end < n; runs.push_back({end, runs.size() % 2 == 0})) {
    end = std::min(n, end + (runs.size() % 2 == 0 ? 1 << 20 : 1024));
  }
  const Array<DecayRun> device_runs(runs);
  const AdamwStep step = adamw_step_of(1e-3, 0.9, 0.999, 1e-8, 0.01, 5, 0.5);
  const AdamwBuffers plain{parameter.get(), nullptr, gradient.get(), Element::Float32, mean.get(), square.get()};
  const AdamwBuffers mixed{parameter.get(),   half.get(), half_gradient.get(),
                           Element::BFloat16, mean.get(), square.get()};
  for (const auto& [name, version] : {std::pair{"plain", AdamwVersion::Plain},
                                      {"vectorised", AdamwVersion::Vectorised},
                                      {"two ahead", AdamwVersion::TwoAhead}}) {
    measure(roof, std::string("adamw float32, ") + name, 32 * count, 0,
            [&] { return adamw(version, plain, n, device_runs.get(), runs.size(), step, nullptr); });
    measure(roof, std::string("adamw bfloat16, ") + name, 30 * count, 0,
            [&] { return adamw(version, mixed, n, device_runs.get(), runs.size(), step, nullptr); });
  }

  const SgdStep sgd_step{0.5F, 1e-3F, 0.01F, 0.9F};
  const SgdBuffers momentum{parameter.get(), nullptr, gradient.get(), mean.get()};
  for (const auto& [name, version] : {std::pair{"plain", SgdVersion::Plain}, {"two ahead", SgdVersion::TwoAhead}}) {
    measure(roof, std::string("sgd with momentum, ") + name, 24 * count, 0,
            [&] { return sgd(version, momentum, n, device_runs.get(), runs.size(), sgd_step, nullptr); });
  }

  constexpr std::size_t kLayers = 8;
  std::vector<std::size_t> begins;
  for (std::size_t layer = 0; layer <= kLayers; ++layer) {
    begins.push_back(n / kLayers * layer);
  }
  const Array<std::size_t> device_begins(begins);
  const Array<double> scratch(norm_scratch(kLayers, n / kLayers)), norms(kLayers);
  const Array<char> codes(encoded_bytes(n));
  const double code_bytes = static_cast<double>(encoded_bytes(n));
  for (const bool fast : {false, true}) {
    const std::string name = fast ? ", vectorised" : ", plain";
    const NormVersion norm = fast ? NormVersion::Vectorised : NormVersion::Plain;
    measure(roof, "squared norm float32" + name, 4 * count, 0, [&] {
      return squared_norms(norm, parameter.get(), Element::Float32, device_begins.get(), kLayers, n / kLayers,
                           scratch.get(), norms.get(), nullptr);
    });
    const CodecVersion codec = fast ? CodecVersion::Vectorised : CodecVersion::Plain;
    for (const Rounding rounding : {Rounding::Nearest, Rounding::Stochastic}) {
      measure(roof, (rounding == Rounding::Nearest ? "encode nearest" : "encode stochastic") + name,
              4 * count + code_bytes, 0,
              [&] { return encode(codec, parameter.get(), Element::Float32, n, rounding, 1, codes.get(), nullptr); });
    }
    measure(roof, "decode" + name, 4 * count + code_bytes, 0,
            [&] { return decode(codec, codes.get(), n, Element::Float32, mean.get(), nullptr); });
    const DropoutVersion dropping = fast ? DropoutVersion::Vectorised : DropoutVersion::Plain;
    measure(roof, "dropout of rows of 1024" + name, 8 * count, 0, [&] {
      return dropout(dropping, parameter.get(), Element::Float32, n / 1024, 1024, {1, 0, 6554}, mean.get(), nullptr);
    });
    const ConversionVersion conversion = fast ? ConversionVersion::Vectorised : ConversionVersion::Plain;
    measure(roof, "float32 to bfloat16" + name, 6 * count, 0,
            [&] { return narrow(conversion, parameter.get(), n, half.get(), nullptr); });
    measure(roof, "bfloat16 to float32" + name, 6 * count, 0,
            [&] { return widen(conversion, half.get(), n, mean.get(), nullptr); });
  }
}

void bench_router(const Roofline& roof, std::size_t queries, std::size_t models, std::size_t width) {
  const Array<float> query(queries * width), model(models * width), bias(models), label(queries * models),
      score(queries * models), by_score(queries * models), query_gradient(queries * width),
      model_gradient(models * width), bias_gradient(models);
  const RouterScoreInput input{queries,     models,     width,       Element::Float32, query.get(),
                               model.get(), bias.get(), label.get(), nullptr,          nullptr};
  const Array<double> losses(router_loss_scratch(queries)), loss(1);
  const Array<float> scratch(router_gradient_scratch(input)), scale(1);
  const double matrix = 4.0 * static_cast<double>(queries * width);
  const double product = 2.0 * static_cast<double>(queries * models * width);
  std::printf("%zu queries, %zu models, width %zu\n", queries, models, width);
  for (const auto& [name, version] : {std::pair{", plain", RouterVersion::Plain}, {", tiled", RouterVersion::Tiled}}) {
    measure(roof, std::string("scores, loss, query gradient") + name, 2 * matrix, 2 * product, [&] {
      return router_score(version, input, 0.5F, losses.get(), loss.get(), score.get(), by_score.get(),
                          query_gradient.get(), nullptr);
    });
    measure(roof, std::string("model gradient") + name, matrix, product, [&] {
      return router_model_gradient(version, input, by_score.get(), scale.get(), scratch.get(), model_gradient.get(),
                                   bias_gradient.get(), nullptr);
    });
  }
}

}  // namespace

int main() {
  try {
    const Roofline roof = roofline();
    for (const std::size_t count : {std::size_t{1} << 20, std::size_t{1} << 26}) {
      bench_memory(roof, count);
    }
    bench_router(roof, 4096, 28, 512);
    bench_router(roof, 32768, 28, 1024);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_kernels_cuda: %s\n", error.what());
    return 1;
  }
}

#include "motley/profiler/codecs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "motley/base/error.h"
#include "motley/base/median.h"
#include "motley/stage/wire.h"

namespace motley {
namespace {

constexpr std::array<const char*, 2> kFormats{"bfloat16", "int8"};
constexpr std::array<std::int64_t, 3> kFloats{1 << 12, 1 << 16, 1 << 20};

template <typename Body>
double median_time(ComputeDevice& device, Pacer& pacer, int repeats, Body&& body) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pacer.run([&] {
      body();
      device.finish();
    });
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return spread_of(std::move(seconds)).median;
}

/// Whether the device can encode: int8 needs a kernel.
bool has(ComputeDevice& device, Wire wire) {
  return wire != Wire::Int8 || device.compute() == nullptr || device.kernels();
}

}  // namespace

std::vector<double> measure_codecs(ComputeDevice& device, Pacer pacer, int repeats) {
  std::vector<double> seconds;
  const kernels::KernelQueue queue = device.kernels();
  for (const char* const format : kFormats) {
    const Wire wire = wire_by_name(format);
    if (!has(device, wire)) {
      seconds.insert(seconds.end(), 2 * kFloats.size(), 0.0);
      continue;
    }
    for (const std::int64_t floats : kFloats) {
      const at::Tensor values = at::randn({floats}).to(device.tensors());
      at::Tensor encoded = encode(wire, values, true, 1, queue);
      const auto encoding = [&](bool stochastic) {
        return median_time(device, pacer, repeats, [&] { encoded = encode(wire, values, stochastic, 1, queue); });
      };
      // Gradients round by chance, which takes longer than what activations do: half of the messages each.
      seconds.push_back(0.5 * (encoding(true) + encoding(false)));
      seconds.push_back(median_time(device, pacer, repeats, [&] { decode(wire, encoded, values, queue); }));
    }
  }
  return seconds;
}

void put_codecs(const std::vector<std::vector<double>>& of_ranks, DeviceTable& table) {
  constexpr std::size_t kTimes = 2 * kFloats.size();  // of a format
  const std::vector<double> seconds = median_of(of_ranks);
  MOTLEY_CHECK(seconds.size() == kFormats.size() * kTimes, "{} times of codecs", seconds.size());
  for (std::size_t f = 0; f < kFormats.size(); ++f) {
    const bool lacking = std::any_of(of_ranks.begin(), of_ranks.end(), [&](const std::vector<double>& times) {
      return std::all_of(&times[f * kTimes], &times[f * kTimes] + kTimes, [](double time) { return time == 0.0; });
    });
    if (lacking) {
      table.lacks.emplace_back(kFormats[f]);
      continue;
    }
    auto next = seconds.begin() + static_cast<std::ptrdiff_t>(f * kTimes);
    std::vector<TransferCurve::Point> encode;
    std::vector<TransferCurve::Point> decode;
    for (const std::int64_t floats : kFloats) {
      // A larger message that was disturbed less must not look quicker than a smaller one.
      const auto add = [&](std::vector<TransferCurve::Point>& points, double time) {
        const double least = points.empty() ? 0.0 : points.back().time.value;
        points.push_back({Bytes{floats * 4}, Seconds{std::max(time, least)}});
      };
      add(encode, *next++);
      add(decode, *next++);
    }
    table.codecs[kFormats[f]] = {TransferCurve(encode), TransferCurve(decode)};
  }
}

}  // namespace motley

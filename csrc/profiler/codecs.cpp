#include "motley/profiler/codecs.h"

#include <ATen/ATen.h>

#include <array>
#include <chrono>

#include "motley/base/error.h"
#include "motley/profiler/median.h"
#include "motley/stage/wire.h"

namespace motley {
namespace {

constexpr std::array<const char*, 2> kFormats{"bfloat16", "int8"};
constexpr std::array<std::int64_t, 3> kFloats{1 << 12, 1 << 16, 1 << 20};

template <typename Body>
double median_time(Pacer& pacer, int repeats, Body&& body) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pacer.run(body);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return spread_of(std::move(seconds)).median;
}

}  // namespace

std::vector<double> measure_codecs(Pacer pacer, int repeats) {
  std::vector<double> seconds;
  for (const char* const format : kFormats) {
    const Wire wire = wire_by_name(format);
    for (const std::int64_t floats : kFloats) {
      const at::Tensor values = at::randn({floats});
      at::Tensor encoded = encode(wire, values, true, 1);
      // Gradients round by chance, which takes longer than what activations do: half of the messages each.
      const double chance = median_time(pacer, repeats, [&] { encoded = encode(wire, values, true, 1); });
      const double nearest = median_time(pacer, repeats, [&] { encoded = encode(wire, values, false, 1); });
      seconds.push_back(0.5 * (chance + nearest));
      seconds.push_back(median_time(pacer, repeats, [&] { decode(wire, encoded, values); }));
    }
  }
  return seconds;
}

std::map<std::string, Codec> codecs_from(const std::vector<double>& seconds) {
  MOTLEY_CHECK(seconds.size() == 2 * kFormats.size() * kFloats.size(), "{} times of codecs", seconds.size());
  std::map<std::string, Codec> codecs;
  auto next = seconds.begin();
  for (const char* const format : kFormats) {
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
    codecs[format] = {TransferCurve(encode), TransferCurve(decode)};
  }
  return codecs;
}

}  // namespace motley

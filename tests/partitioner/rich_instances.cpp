#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/partitioner/brute_force.h"

namespace motley {
namespace {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : engine_(seed) {}
  int whole(int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine_); }
  double real(double least, double most) { return std::uniform_real_distribution<double>(least, most)(engine_); }
  bool chance(double probability) { return real(0.0, 1.0) < probability; }

 private:
  std::mt19937_64 engine_;
};

void add_layers(Draw& draw, ModelProfile& model, int layers) {
  for (int layer = 0; layer < layers; ++layer) {
    LayerProfile of;
    of.name = fmt::format("layer{}", layer);
    of.parameters = Bytes{draw.whole(100, 4000)};
    of.optimizer_state = 2 * of.parameters;
    if (layer + 1 < layers) of.output = {TensorSpec{"hidden", {draw.whole(50, 500)}, DType::Float32, true}};
    if (layer + 1 < layers && draw.chance(0.3)) {
      of.output.push_back(TensorSpec{"mask", {draw.whole(1, 200)}, DType::Bool, false});
    }
    const int saved = draw.whole(200, 4000);
    const int transient = draw.whole(0, 500);
    for (const std::int64_t size : model.micro_batch_sizes) {
      const Bytes peak{(saved + transient) * size};
      of.memory.push_back({Bytes{saved * size}, Bytes{saved * size / 3}, peak, peak, peak, peak});
    }
    model.layers.push_back(of);
  }
}

DeviceTimes random_times(Draw& draw, const ModelProfile& model, double speed) {
  DeviceTimes times;
  for (const std::int64_t size : model.micro_batch_sizes) {
    std::vector<LayerTimes> row;
    for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
      const double forward = speed * (0.3 + draw.real(0.3, 1.5) * static_cast<double>(size)) * 1e-3;
      const double input = forward * draw.real(0.8, 1.3);
      const double weight = forward * draw.real(0.6, 1.3);
      row.push_back({{forward}, {input}, {weight}, {(input + weight) * draw.real(0.9, 1.02)}, 0.0});
    }
    times.by_size.push_back(row);
  }
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    times.update.push_back({draw.real(0.1, 1.0) * 1e-3 * speed});
  }
  return times;
}

TransferCurve random_curve(Draw& draw, double scale_s) {
  const double latency = scale_s * draw.real(0.05, 0.3);
  const double middle = latency + scale_s * draw.real(0.1, 1.0);
  return TransferCurve({{Bytes{0}, Seconds{latency}},
                        {Bytes{1500}, Seconds{middle}},
                        {Bytes{6000}, Seconds{middle + scale_s * draw.real(0.5, 2.5)}}});
}

void add_cluster(Draw& draw, Profile& profile, int devices, const Rich& rich) {
  ModelProfile& model = profile.model;
  ClusterProfile& cluster = profile.cluster;
  const int types = draw.whole(1, devices);
  for (int type = 0; type < types; ++type) {
    const double speed = draw.real(0.4, 2.0);
    DeviceTable& table = model.devices[fmt::format("t{}", type)];
    table.alone = random_times(draw, model, speed);
    table.busy = random_times(draw, model, speed * draw.real(1.0, 1.3));
    for (const char* wire : {"bfloat16", "int8", "float32"}) {
      if (rich.wires && draw.chance(0.4)) {
        table.codecs[wire] = {random_curve(draw, draw.real(1e-5, 4e-4)), random_curve(draw, draw.real(1e-5, 4e-4))};
      }
    }
  }
  std::int64_t total = 0;
  for (const LayerProfile& layer : model.layers) {
    total += 4 * layer.parameters.value + 2 * layer.memory.back().saved.value;
  }
  const bool tight = draw.chance(rich.recompute ? 0.8 : 0.4);
  const auto limit = static_cast<std::int64_t>(static_cast<double>(total) * draw.real(0.25, 1.0));
  for (int d = 0; d < devices; ++d) {
    cluster.devices.push_back({fmt::format("rank{}", d), d % 2 == 0 ? "a" : "b",
                               fmt::format("t{}", draw.whole(0, types - 1)), Bytes{tight ? limit : 1'000'000'000},
                               0.5 * draw.whole(1, 6)});
  }
  const double scale = draw.chance(0.4) ? 8e-3 : draw.chance(0.5) ? 8e-4 : 8e-5;
  const TransferCurve everywhere = random_curve(draw, scale);
  const bool alike = draw.chance(0.3);
  cluster.links.assign(devices, std::vector<TransferCurve>(devices, everywhere));
  for (int from = 0; from < devices; ++from) {
    for (int to = 0; to < devices && !alike; ++to) cluster.links[from][to] = random_curve(draw, scale);
  }
  if (rich.nics) {
    cluster.hosts = {{"a", "", BytesPerSecond{draw.real(3e5, 4e6)}, BytesPerSecond{draw.real(3e5, 4e6)}}};
    if (devices > 1 && draw.chance(0.5)) cluster.hosts.push_back({"b", "", {}, BytesPerSecond{draw.real(3e5, 4e6)}});
  }
  if (devices > 1 && draw.chance(0.3)) {
    std::vector<int> all(static_cast<std::size_t>(devices));
    for (int d = 0; d < devices; ++d) all[d] = d;
    cluster.all_reduce = {{all, random_curve(draw, 2e-3)}};
  }
  if (draw.chance(0.5)) cluster.action_overhead = Seconds{draw.real(0.0, 1e-4)};
  cluster.norm_exchange = Seconds{draw.real(0.0, 1e-3)};
}

Instance draw_instance(Draw& draw, Rich& rich) {
  Instance instance;
  rich = {draw.chance(0.4),
          draw.chance(0.35),
          draw.chance(0.35),
          draw.chance(0.25),
          draw.chance(0.3),
          draw.chance(0.3),
          draw.chance(0.6)   ? Objective::Iteration
          : draw.chance(0.5) ? Objective::Bottleneck
                             : Objective::Cost};
  const int devices = draw.whole(rich.replicas || rich.interleaved ? 2 : 1, 4);
  const int layers = draw.whole(1, 6);
  ModelProfile& model = instance.profile.model;
  model.name = "rich";
  model.micro_batch_sizes = draw.chance(0.5) ? std::vector<std::int64_t>{1, 2, 4} : std::vector<std::int64_t>{1, 4};
  add_layers(draw, model, layers);
  add_cluster(draw, instance.profile, devices, rich);
  SearchOptions& options = instance.options;
  options.global_batch = std::int64_t{4} * draw.whole(1, 3);
  if (draw.chance(0.6)) options.micro_batch_sizes = {draw.chance(0.3) ? 1 : 4};
  options.clip = draw.chance(0.7);
  options.objective = rich.objective;
  options.schedules = {draw.chance(0.25) ? "gpipe" : "1f1b"};
  if (rich.zero_bubble) options.allow.emplace_back("zero-bubble");
  if (rich.interleaved) options.allow.emplace_back("interleaved-1f1b");
  if (rich.interleaved && draw.chance(0.2)) options.max_rounds = 3;
  if (rich.replicas) options.allow.emplace_back("replicas");
  if (rich.replicas && draw.chance(0.3)) options.max_replicas = 2;
  if (rich.replicas && draw.chance(0.3)) options.share_unit = 2;
  if (rich.recompute) options.allow.emplace_back("recompute");
  if (rich.wires) options.allow.emplace_back(draw.chance(0.5) ? "bfloat16" : "int8");
  if (draw.chance(0.1)) options.any_order = false;
  if (draw.chance(0.1)) options.use_all_devices = devices <= layers;
  if (draw.chance(0.1) && !options.use_all_devices) options.max_stages = 2;
  return instance;
}

}  // namespace

Instance random_rich_instance(std::uint64_t seed, std::int64_t most_plans, Rich* drawn) {
  Draw draw(seed * 2654435761U + 17);
  while (true) {
    Rich rich;
    Instance instance = draw_instance(draw, rich);
    try {
      const std::int64_t plans = count_plans(instance.profile, instance.options);
      if (plans < 2 || plans > most_plans) continue;
    } catch (const InputError&) {
      continue;  // a batch that no allowed size divides
    }
    if (drawn != nullptr) *drawn = rich;
    return instance;
  }
}

}  // namespace motley

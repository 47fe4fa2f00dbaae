#include "instances.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <stdexcept>

namespace motley {
namespace {

DeviceTimes plain_times(int layers, double scale_s) {
  DeviceTimes times;
  times.by_size.emplace_back(layers, LayerTimes{{scale_s}, {scale_s}, {scale_s}, {2 * scale_s}, 0.0});
  times.update.assign(layers, Seconds{0.1 * scale_s});
  return times;
}

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : engine_(seed) {}
  int whole(int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine_); }
  double real(double least, double most) { return std::uniform_real_distribution<double>(least, most)(engine_); }
  bool chance(double probability) { return real(0.0, 1.0) < probability; }

 private:
  std::mt19937_64 engine_;
};

DeviceTimes random_times(Draw& draw, const std::vector<std::int64_t>& sizes, int layers, double speed) {
  DeviceTimes times;
  for (const std::int64_t size : sizes) {
    std::vector<LayerTimes> row;
    for (int layer = 0; layer < layers; ++layer) {
      // A part that does not shrink with the size makes small micro-batches cost something.
      const double forward = speed * (0.3 + draw.real(0.2, 2.0) * static_cast<double>(size)) * 1e-3;
      const double input = forward * draw.real(0.8, 1.3);
      const double weight = forward * draw.real(0.8, 1.3);
      row.push_back({{forward}, {input}, {weight}, {(input + weight) * 0.98}, 0.0});
    }
    times.by_size.push_back(row);
  }
  for (int layer = 0; layer < layers; ++layer) times.update.push_back({draw.real(0.1, 1.0) * 1e-3 * speed});
  return times;
}

TransferCurve random_link(Draw& draw) {
  const double slow = draw.chance(0.3) ? 30.0 : 1.0;
  const double latency = draw.real(1e-5, 2e-4);
  const double short_message = latency + slow * draw.real(1e-5, 3e-4);
  const double long_message = short_message + slow * draw.real(1e-4, 6e-4);
  return TransferCurve(
      {{Bytes{0}, Seconds{latency}}, {Bytes{4000}, Seconds{short_message}}, {Bytes{8000}, Seconds{long_message}}});
}

}  // namespace

Profile plain_profile(int layers, const std::vector<int>& types, double rate) {
  Profile profile;
  profile.model.name = "plain";
  profile.model.micro_batch_sizes = {1};
  for (int layer = 0; layer < layers; ++layer) {
    LayerProfile of;
    of.name = fmt::format("layer{}", layer);
    of.parameters = Bytes{1000};
    of.optimizer_state = Bytes{2000};
    if (layer + 1 < layers) of.output = {TensorSpec{"hidden", {250}, DType::Float32, true}};
    constexpr Bytes kSaved{1000};
    of.memory = {{kSaved, Bytes{0}, kSaved, kSaved, Bytes{0}, kSaved}};
    profile.model.layers.push_back(of);
  }
  for (std::size_t d = 0; d < types.size(); ++d) {
    const DeviceTimes times = plain_times(layers, (types[d] + 1) * 1e-3);
    profile.model.devices[fmt::format("t{}", types[d])] = DeviceTable{times, times};
    profile.cluster.devices.push_back(
        {fmt::format("rank{}", d), fmt::format("host{}", d), fmt::format("t{}", types[d]), Bytes{1'000'000'000}, 0.0});
  }
  profile.cluster.links.assign(
      types.size(), std::vector<TransferCurve>(types.size(), TransferCurve(Seconds{1e-5}, BytesPerSecond{rate})));
  return profile;
}

Instance random_instance(std::uint64_t seed) {
  Draw draw(seed);
  Instance instance;
  ModelProfile& model = instance.profile.model;
  ClusterProfile& cluster = instance.profile.cluster;
  const int devices = draw.whole(1, 4);
  const int layers = devices == 4 ? draw.whole(2, 5) : draw.whole(1, 6);
  model.name = "random";
  // Batch 6 gives 6, 3 or 2 micro-batches, batch 4 gives 4 or 2 and leaves size 3 out.
  model.micro_batch_sizes = devices == 4 ? std::vector<std::int64_t>{1, 3} : std::vector<std::int64_t>{1, 2, 3};
  instance.options.global_batch = draw.chance(0.7) ? 6 : 4;
  instance.options.clip = draw.chance(0.7);
  if (draw.chance(0.3)) instance.options.schedules = {"1f1b", "gpipe"};
  if (draw.chance(0.1)) instance.options.any_order = false;
  if (draw.chance(0.1)) instance.options.use_all_devices = devices <= layers;
  if (draw.chance(0.1) && !instance.options.use_all_devices) instance.options.max_stages = 2;

  std::int64_t total = 0;
  for (int layer = 0; layer < layers; ++layer) {
    LayerProfile of;
    of.name = fmt::format("layer{}", layer);
    of.parameters = Bytes{draw.whole(100, 2000)};
    of.optimizer_state = 2 * of.parameters;
    if (layer + 1 < layers) of.output = {TensorSpec{"hidden", {draw.whole(100, 700)}, DType::Float32, true}};
    if (layer + 1 < layers && draw.chance(0.3)) {
      of.output.push_back(TensorSpec{"mask", {draw.whole(1, 400)}, DType::Bool, false});
    }
    const int saved = draw.whole(200, 3000);
    const int transient = draw.whole(0, 1000);
    for (const std::int64_t size : model.micro_batch_sizes) {
      const Bytes peak{(saved + transient) * size};
      of.memory.push_back({Bytes{saved * size}, Bytes{saved * size / 2}, peak, peak, peak, peak});
    }
    total += 4 * of.parameters.value + 3 * of.memory.front().saved.value;
    model.layers.push_back(of);
  }
  const int types = draw.whole(1, devices);
  for (int type = 0; type < types; ++type) {
    const double speed = draw.real(0.5, 3.0);
    DeviceTable table;
    table.alone = random_times(draw, model.micro_batch_sizes, layers, speed);
    table.busy = random_times(draw, model.micro_batch_sizes, layers, speed * draw.real(1.0, 1.3));
    model.devices[fmt::format("t{}", type)] = table;
  }
  const bool tight = draw.chance(0.5);
  for (int d = 0; d < devices; ++d) {
    const auto limit = static_cast<std::int64_t>(static_cast<double>(total) * draw.real(0.1, 1.0));
    cluster.devices.push_back({fmt::format("rank{}", d), "host", fmt::format("t{}", draw.whole(0, types - 1)),
                               tight ? Bytes{limit} : Bytes{1'000'000'000}, 0.0});
  }
  const TransferCurve everywhere = random_link(draw);
  const bool directed = draw.chance(0.8);
  cluster.links.assign(devices, std::vector<TransferCurve>(devices, everywhere));
  for (int from = 0; from < devices; ++from) {
    for (int to = 0; to < devices && directed; ++to) cluster.links[from][to] = random_link(draw);
  }
  if (draw.chance(0.5)) cluster.action_overhead = Seconds{draw.real(0.0, 1e-4)};
  cluster.norm_exchange = Seconds{draw.real(0.0, 1e-3)};
  return instance;
}

Profile with_faster_links(const Profile& profile, double factor) {
  Profile faster = profile;
  for (auto& row : faster.cluster.links) {
    for (TransferCurve& link : row) {
      std::vector<TransferCurve::Point> points = link.points();
      const Seconds latency = points.front().time;
      for (TransferCurve::Point& point : points) point.time = latency + (point.time - latency) / factor;
      link = TransferCurve(points);
    }
  }
  return faster;
}

Profile reordered(const Profile& profile, const std::vector<int>& order) {
  Profile other = profile;
  for (std::size_t d = 0; d < order.size(); ++d) {
    other.cluster.devices[order[d]] = profile.cluster.devices[d];
    for (std::size_t e = 0; e < order.size(); ++e) {
      other.cluster.links[order[d]][order[e]] = profile.cluster.links[d][e];
    }
  }
  for (AllReduce& group : other.cluster.all_reduce) {
    for (int& device : group.devices) device = order[device];
    std::sort(group.devices.begin(), group.devices.end());
  }
  return other;
}

Found found(const SearchResult& result) {
  if (const auto* infeasible = std::get_if<Infeasible>(&result)) throw std::runtime_error(infeasible->reason);
  return std::get<Found>(result);
}

}  // namespace motley

#include "motley/partitioner/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <tuple>
#include <utility>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr std::array<std::int64_t, 3> kSizes = {1, 2, 4};
constexpr double kSpread = 0.002;  // between blocks: Sailor's tables repeat one block, so this is ours
constexpr int kFewestHostsOfZone = 4;
constexpr int kMostZones = 4;
constexpr double kFastestBlock = 3.910;  // ms of a block and a sample, GH-96
constexpr double kSlowestBlock = 29.72;  // RTX-2080
constexpr double kCrowdedShare = 0.36;   // of all devices
constexpr double kCrowdedMore = 0.2;     // of a host: with eight hosts a share alone leaves too few devices bound
constexpr double kDeeper = 1.1;          // warm-up against place, for what links take
constexpr double kMessages = 60e6;       // bytes posted ahead and on their way
constexpr double kTooSmallShare = 0.1;   // of the devices that a plan would use
constexpr int kMostLayers = 100'000;
constexpr int kMostDevices = 4096;  // each pair of which has a curve of its own
constexpr double kNever = 1e30;     // ms

/// Milliseconds of a pass, by micro-batch size.
struct Passes {
  std::array<double, 3> forward;
  std::array<double, 3> backward;
};

/// GB/s = a log2(MB)^2 + b log2(MB) + c, at most `most`.
struct Rate {
  double a, b, c, most;
};

struct Type {
  const char* name_of_gpu;
  double memory_gb;
  Passes block, head;
  double embedding_ms;  // forward; its backward is 3 us
  double update_ms;
  Rate inside_host, between_hosts;

  [[nodiscard]] double block_ms() const { return block.forward[0] + block.backward[0]; }
};

// profiles_tmp.json: OPT-350, tensor-parallel degree 1, medians over the blocks. intra_node_bandwidths.json (a pair);
// network_coeffs_all_homo.json, "inter" (one GPU at each end).
constexpr std::array<Type, 7> kTypes = {{
    {"V100-16",
     16,
     {{7.321, 14.09, 28.84}, {17.19, 33.95, 71.71}},
     {{18.64, 36.70, 74.80}, {30.12, 59.36, 122.1}},
     0.445,
     4.854,
     {-0.2045, 7.2116, 22.2421, 68.2816},
     {0.004408, 0.04658, 0.8794, 1.7196}},
    {"A100-40",
     40,
     {{2.314, 4.169, 8.204}, {5.909, 11.63, 22.71}},
     {{4.508, 8.140, 16.12}, {3.989, 7.615, 14.86}},
     0.400,
     2.938,
     {0.8082, 16.4010, 32.9805, 248.8762},
     {-0.002441, 0.14086, 1.1168, 2.4204}},
    {"A100-80",
     80,
     {{1.756, 3.471, 6.783}, {5.130, 10.13, 19.94}},
     {{3.808, 7.513, 14.95}, {4.002, 7.658, 15.37}},
     0.214,
     2.545,
     {0.8082, 16.4010, 32.9805, 248.8762},
     {-0.02703, 0.40848, 2.8379, 4.5233}},
    {"GH-96",
     96,
     {{1.225, 1.771, 3.569}, {2.685, 5.212, 10.34}},
     {{2.068, 3.585, 7.139}, {2.109, 3.832, 7.662}},
     0.220,
     1.337,
     {-0.5231, 14.2256, 44.1022, 125.4607},
     {-0.1657, 2.7943, 11.7441, 22.9345}},
    {"Titan-RTX",
     24,
     {{7.746, 15.25, 31.11}, {20.34, 40.36, 79.95}},
     {{18.82, 38.84, 80.84}, {29.67, 60.83, 124.6}},
     0.218,
     8.146,
     {-0.08825, 1.2281, 6.8820, 10.8244},
     {-0.02187, 0.25920, 2.2471, 2.8565}},
    {"RTX-2080",
     11,
     {{8.132, 16.19, 33.33}, {21.59, 42.84, 84.99}},
     {{20.11, 42.27, 87.21}, {32.46, 65.90, 132.6}},
     0.329,
     9.080,
     {-0.09370, 1.3282, 6.3982, 10.7556},
     {-0.02079, 0.25231, 2.2276, 2.8558}},
    {"RTX-3090",
     24,
     {{4.392, 8.850, 16.95}, {11.98, 23.57, 47.45}},
     {{9.888, 19.81, 40.49}, {13.38, 25.96, 56.62}},
     0.307,
     4.878,
     {-0.2047, 5.5235, 18.3402, 49.7692},
     {0.0, 0.0, 0.11, 0.12}},
}};
// multizone_bandwidths_het.json, us-central1-a to us-central1-b, A100-40, one GPU at each end.
constexpr double kBetweenZones = 0.97;

// llm_info.json, OPT-350: floats of weights, of the output and of what is saved, a sample.
constexpr double kBlockWeights = 12'596'224;
constexpr double kEmbeddingWeights = 53'608'448;
constexpr double kHeadWeights = 51'513'344;
constexpr double kOutput = 2'097'152;
constexpr double kBlockSaved = 90'181'632;
constexpr double kHeadSaved = 208'673'536;
constexpr double kMostSaved = 3'087'024'128;  // LLAMA-3-8, at longer sequences

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : engine_(seed) {}
  // The standard fixes the engine's numbers, but not those of its distributions.
  double real(double least, double most) {
    return least + (most - least) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }
  double factor(double spread) {
    const double normal = real(0, 1) + real(0, 1) + real(0, 1) + real(0, 1) - 2.0;  // of variance 1/3
    return std::exp(spread * std::sqrt(3.0) * normal);
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[static_cast<std::size_t>(real(0, static_cast<double>(i)))]);
    }
  }

 private:
  std::mt19937_64 engine_;
};

struct NamedType : Type {
  std::string name;
  void slow_down(double factor) {
    for (Passes* passes : {&block, &head}) {
      for (double& time : passes->forward) time *= factor;
      for (double& time : passes->backward) time *= factor;
    }
    embedding_ms *= factor;
    update_ms *= factor;
  }
};

struct HostDraw {
  int type = 0;
  int zone = 0;
  double memory_share = 1.0;
};

double gigabytes_per_second(const Rate& rate, double megabytes) {
  const double x = std::log2(megabytes);
  return std::min(rate.a * x * x + rate.b * x + rate.c, rate.most);
}

/// Sampled where the fits were measured; `slower` gives the rate at a size.
template <class RateAt>
TransferCurve curve(const RateAt& rate_at) {
  std::vector<TransferCurve::Point> points;
  for (const double megabytes : {1.0, 8.0, 32.0, 128.0}) {
    points.push_back(
        {Bytes{static_cast<std::int64_t>(1e6 * megabytes)}, Seconds{megabytes * 1e-3 / rate_at(megabytes)}});
  }
  return TransferCurve(points);
}

TransferCurve link(const Type& from, const Type& to, bool same_host, bool same_zone) {
  return curve([&](double megabytes) {
    if (same_host) return gigabytes_per_second(from.inside_host, megabytes);
    const double hosts = std::min(gigabytes_per_second(from.between_hosts, megabytes),
                                  gigabytes_per_second(to.between_hosts, megabytes));
    return same_zone ? hosts : kBetweenZones * hosts;
  });
}

Bytes floats(double count) {
  return Bytes{static_cast<std::int64_t>(std::llround(4.0 * count))};
}

void add_layers(ModelProfile& model, int layers, double saved_floats) {
  for (int l = 0; l < layers; ++l) {
    const bool first = l == 0;
    const bool last = l + 1 == layers;
    LayerProfile layer;
    layer.name = first ? "embedding" : last ? "head" : fmt::format("block{}", l - 1);
    layer.parameters = floats(first ? kEmbeddingWeights : last ? kHeadWeights : kBlockWeights);
    layer.optimizer_state = 2 * layer.parameters;
    if (!last) layer.output = {TensorSpec{"hidden", {2048, 1024}, DType::BFloat16, true}};
    const double share = saved_floats / kBlockSaved;
    for (const std::int64_t size : model.micro_batch_sizes) {
      const Bytes saved = size * floats(first ? kOutput : last ? share * kHeadSaved : saved_floats);
      layer.memory.push_back({saved, saved, saved, saved, saved, saved});
    }
    model.layers.push_back(std::move(layer));
  }
}

void add_times(ModelProfile& model, int layers, const std::vector<NamedType>& types, Draw& draw) {
  for (const NamedType& type : types) {
    DeviceTimes times;
    for (std::size_t b = 0; b < kSizes.size(); ++b) {
      std::vector<LayerTimes> row;
      for (int l = 0; l < layers; ++l) {
        const Passes& passes = l + 1 == layers ? type.head : type.block;
        const double forward = 1e-3 * draw.factor(kSpread) * (l == 0 ? type.embedding_ms : passes.forward[b]);
        const double backward = 1e-3 * draw.factor(kSpread) * (l == 0 ? 0.003 : passes.backward[b]);
        row.push_back({{forward}, {backward / 2}, {backward / 2}, {backward}, 0.0});
      }
      times.by_size.push_back(std::move(row));
    }
    for (int l = 0; l < layers; ++l) times.update.push_back({1e-3 * type.update_ms});
    model.devices[type.name] = DeviceTable{times, times};
  }
}

/// Milliseconds in which devices that take whole blocks can take them all.
double fair_time(const std::vector<double>& block_ms, int layers) {
  double low = 0.0;
  double high = *std::min_element(block_ms.begin(), block_ms.end()) * layers;
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    double taken = 0.0;
    for (const double time : block_ms) taken += std::floor(middle / time);
    (taken < layers ? low : high) = middle;
  }
  return high;
}

/// Bytes of every device and floats that a block saves a sample: see the header.
struct MemoryDraw {
  std::vector<double> bytes;
  double saved = 0.0;
};

MemoryDraw draw_memory(const std::vector<double>& block_ms, const std::vector<double>& message_ms,
                       const std::vector<double>& own_bytes, const std::vector<int>& host_of, int hosts, int layers,
                       Draw& draw) {
  // A host whose messages take longer than a stage has no place in a pipeline of stages that short.
  std::vector<double> usable = block_ms;
  double within = fair_time(usable, layers);
  for (bool left_out = true; left_out;) {
    left_out = false;
    for (std::size_t d = 0; d < usable.size(); ++d) {
      if (message_ms[d] <= within || usable[d] == kNever) continue;
      usable[d] = kNever;
      left_out = true;
    }
    if (std::all_of(usable.begin(), usable.end(), [](double ms) { return ms == kNever; })) usable = block_ms;
    within = fair_time(usable, layers);
  }
  const auto blocks = [&](std::size_t device) { return std::floor(within / usable[device]); };
  // The fastest devices that can take all blocks are those that a plan would use.
  std::vector<std::size_t> by_speed(block_ms.size());
  std::iota(by_speed.begin(), by_speed.end(), std::size_t{0});
  std::stable_sort(by_speed.begin(), by_speed.end(),
                   [&](std::size_t a, std::size_t b) { return usable[a] < usable[b]; });
  std::vector<std::vector<std::size_t>> used(static_cast<std::size_t>(hosts));
  int places = 0;
  double taken = 0.0;
  for (const std::size_t d : by_speed) {
    if (taken >= layers) break;
    taken += blocks(d);
    used[static_cast<std::size_t>(host_of[d])].push_back(d);
    ++places;
  }
  std::erase_if(used, [](const std::vector<std::size_t>& devices) { return devices.empty(); });
  draw.shuffle(used);

  MemoryDraw memory;
  memory.bytes = own_bytes;
  memory.saved = kMostSaved;
  std::vector<double> most_saved;
  const double enough = (kCrowdedShare + kCrowdedMore / hosts) * static_cast<double>(block_ms.size());
  int crowded = 0;            // devices
  std::size_t free_from = 0;  // hosts from here on have their GPUs to themselves
  for (; free_from < used.size() && crowded < enough; ++free_from) {
    crowded += static_cast<int>(used[free_from].size());
  }
  for (std::size_t h = 0; h < used.size(); ++h) {
    for (const std::size_t d : used[h]) {
      const double farthest = h < free_from ? crowded : places;
      most_saved.push_back((own_bytes[d] / blocks(d) - 16.0 * kBlockWeights) / (4.0 * kDeeper * farthest));
    }
  }
  const auto rank = static_cast<std::ptrdiff_t>(kTooSmallShare * static_cast<double>(most_saved.size()));
  std::nth_element(most_saved.begin(), most_saved.begin() + rank, most_saved.end());
  memory.saved = std::clamp(most_saved[static_cast<std::size_t>(rank)], kOutput, kMostSaved);
  int place = 0;
  const int fewest = 2 * static_cast<int>(used.front().size());  // the head is the last stage's as well
  for (std::size_t h = 0; h < free_from; ++h) {
    place += static_cast<int>(used[h].size());
    for (const std::size_t d : used[h]) {
      const double fair =
          blocks(d) * (16.0 * kBlockWeights + 4.0 * memory.saved * kDeeper * std::max(place, fewest)) + kMessages;
      memory.bytes[d] = std::min(own_bytes[d], fair);
    }
  }
  return memory;
}

}  // namespace

Profile synthetic_profile(const SyntheticSize& size) {
  if (size.layers < 3 || size.devices < 1 || size.types < 1 || size.hosts < 1) {
    throw InputError::of(
        "synthetic profile: {} layers, {} devices, {} types, {} hosts found, at least 3 layers and one of each "
        "expected",
        size.layers, size.devices, size.types, size.hosts);
  }
  if (size.layers > kMostLayers || size.devices > kMostDevices) {
    throw InputError::of("synthetic profile: {} layers and {} devices found, at most {} and {} expected", size.layers,
                         size.devices, kMostLayers, kMostDevices);
  }
  if (size.types > size.hosts || size.hosts > size.devices) {
    throw InputError::of("synthetic profile: {} types, {} hosts, {} devices found, types <= hosts <= devices expected",
                         size.types, size.hosts, size.devices);
  }
  Draw draw(size.seed);
  std::vector<NamedType> types;
  for (int t = 0; t < size.types; ++t) {
    // One draw in each of equal parts of the measured range, on a logarithmic scale.
    const double share = (t + draw.real(0.0, 1.0)) / size.types;
    const double block_ms = kFastestBlock * std::pow(kSlowestBlock / kFastestBlock, share);
    const Type* nearest = &kTypes.front();
    for (const Type& type : kTypes) {
      if (std::abs(std::log(type.block_ms() / block_ms)) < std::abs(std::log(nearest->block_ms() / block_ms)))
        nearest = &type;
    }
    NamedType type{*nearest, fmt::format("{}-{:.0f}%", nearest->name_of_gpu, 100.0 * nearest->block_ms() / block_ms)};
    type.slow_down(block_ms / nearest->block_ms());
    types.push_back(std::move(type));
  }

  std::vector<HostDraw> hosts(static_cast<std::size_t>(size.hosts));
  const int zones = std::clamp(size.hosts / kFewestHostsOfZone, 1, kMostZones);
  for (int h = 0; h < size.hosts; ++h) hosts[static_cast<std::size_t>(h)].type = h % size.types;
  draw.shuffle(hosts);
  for (int h = 0; h < size.hosts; ++h) {
    hosts[static_cast<std::size_t>(h)].zone = h * zones / size.hosts;
    hosts[static_cast<std::size_t>(h)].memory_share = draw.real(0.85, 0.95);
  }

  Profile profile;
  for (int h = 0; h < size.hosts; ++h) {
    profile.cluster.hosts.push_back(
        {fmt::format("host{}", h), fmt::format("zone{}", hosts[static_cast<std::size_t>(h)].zone), {}, {}});
  }
  profile.model.name =
      fmt::format("synthetic-{}x{}x{}x{}-{}", size.layers, size.devices, size.types, size.hosts, size.seed);
  profile.model.micro_batch_sizes.assign(kSizes.begin(), kSizes.end());
  add_times(profile.model, size.layers, types, draw);
  std::vector<double> block_ms;
  std::vector<double> message_ms;  // between hosts
  std::vector<double> own_bytes;
  std::vector<int> host_of;
  for (int d = 0; d < size.devices; ++d) {
    const int h = static_cast<int>(std::int64_t{d} * size.hosts / size.devices);
    const HostDraw& host = hosts[static_cast<std::size_t>(h)];
    const NamedType& type = types[static_cast<std::size_t>(host.type)];
    host_of.push_back(h);
    own_bytes.push_back(1e9 * type.memory_gb * host.memory_share);
    block_ms.push_back(type.block_ms());
    message_ms.push_back(1e3 * link(type, type, false, true).time(Bytes{2 * static_cast<std::int64_t>(kOutput)}).value);
    profile.cluster.devices.push_back({fmt::format("rank{}", d), fmt::format("host{}", h), type.name, Bytes{}, 0.0});
  }
  const MemoryDraw memory = draw_memory(block_ms, message_ms, own_bytes, host_of, size.hosts, size.layers, draw);
  for (std::size_t d = 0; d < memory.bytes.size(); ++d) {
    profile.cluster.devices[d].memory = Bytes{static_cast<std::int64_t>(memory.bytes[d])};
  }
  add_layers(profile.model, size.layers, memory.saved);

  // Every link between two hosts is one of few.
  std::map<std::tuple<int, int, bool, bool>, TransferCurve> curves;
  for (int from = 0; from < size.devices; ++from) {
    std::vector<TransferCurve>& row = profile.cluster.links.emplace_back();
    for (int to = 0; to < size.devices; ++to) {
      const HostDraw& a = hosts[static_cast<std::size_t>(host_of[static_cast<std::size_t>(from)])];
      const HostDraw& b = hosts[static_cast<std::size_t>(host_of[static_cast<std::size_t>(to)])];
      const std::tuple key{a.type, b.type, &a == &b, a.zone == b.zone};
      auto found = curves.find(key);
      if (found == curves.end()) {
        const auto [of_a, of_b, same_host, same_zone] = key;
        found = curves
                    .emplace(key, link(types[static_cast<std::size_t>(of_a)], types[static_cast<std::size_t>(of_b)],
                                       same_host, same_zone))
                    .first;
      }
      row.push_back(found->second);
    }
  }
  return profile;
}

double memory_bound_share(const Plan& plan, const Profile& profile) {
  const std::vector<LayerProfile>& layers = profile.model.layers;
  const std::size_t index = profile.model.size_index(plan.micro_batch_size);
  int bound = 0;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const StagePlan& stage = plan.stages[s];
    const std::int64_t in_flight = std::min<std::int64_t>(stage.warm_up, plan.micro_batches);
    const auto fits = [&](int layer) {
      if (layer < 0 || layer >= static_cast<int>(layers.size())) return false;
      const LayerProfile& of = layers[static_cast<std::size_t>(layer)];
      const Bytes more = 2 * of.parameters + of.optimizer_state + in_flight * of.memory[index].saved;
      const int device = stage.replicas.front().device;
      return plan.prediction->stage_memory[s] + more <=
             profile.cluster.devices[static_cast<std::size_t>(device)].memory;
    };
    if (!fits(stage.first_layer - 1) && !fits(stage.end_layer)) ++bound;
  }
  return static_cast<double>(bound) / profile.cluster.size();
}

SearchOptions synthetic_options() {
  SearchOptions options;
  options.global_batch = 8192;
  return options;
}

}  // namespace motley

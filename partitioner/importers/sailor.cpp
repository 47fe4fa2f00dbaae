#include "motley/partitioner/importers/sailor.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/partitioner/importers/deepspeed_replay.h"
#include "motley/plan/json_field.h"

namespace motley {
namespace {

using nlohmann::json;

constexpr double kBytesPerFloat = 4.0;
constexpr double kBytesPerParameter = 24.0;
constexpr double kBytesPerMegabyte = 1e6;
constexpr double kLongestTimer = 0.3e-3;
constexpr double kTimerStep = 0.01e-3;

json read_json(const std::filesystem::path& file) {
  return parse_json(read_text(file, "a file of Sailor's"), file.string());
}

int small_count(const JsonField& field) {
  const std::int64_t value = field.integer();
  if (value < 1 || value > 1'000'000) {
    field.fail("a count from 1 to 1000000");
  }
  return static_cast<int>(value);
}

double not_negative(const JsonField& field) {
  if (field.number() < 0.0) {
    field.fail("a number that is not negative");
  }
  return field.number();
}

/// A whole number written as the key of an object.
int number_of_key(const JsonField& object, const std::string& key) {
  int value = 0;
  const auto [rest, error] = std::from_chars(key.data(), key.data() + key.size(), value);
  if (error != std::errc() || rest != key.data() + key.size() || value < 0) {
    throw InputError::of("{}: found the key \"{}\", expected a whole number", object.name(), key);
  }
  return value;
}

/// An object whose keys are 0, 1, ..., as a list.
std::vector<JsonField> numbered(const JsonField& object) {
  std::vector<JsonField> items;
  const std::size_t count = object.keys().size();
  items.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    items.push_back(object.at(std::to_string(i)));
  }
  return items;
}

std::string passes_key(const std::string& gpu, std::int64_t size, int degree) {
  return fmt::format("{}, micro-batch size {}, tensor-parallel degree {}", gpu, size, degree);
}

std::string link_key(const std::string& from_zone, const std::string& from, const std::string& from_count,
                     const std::string& to_zone, const std::string& to, const std::string& to_count) {
  return fmt::format("{} {} x{} to {} {} x{}", from_zone, from, from_count, to_zone, to, to_count);
}

SailorReplica read_replica(const JsonField& field) {
  const std::vector<JsonField> parts = field.items();
  if (parts.size() != 2) {
    field.fail("[[machine], tensor-parallel degree]");
  }
  const std::vector<JsonField> machines = parts[0].items();
  if (machines.size() != 1) {
    parts[0].fail("one machine; replicas that span several are not priced");
  }
  const std::vector<JsonField> machine = machines[0].items();
  if (machine.size() != 3) {
    machines[0].fail("[GPU type, GPUs, zone]");
  }
  return {machine[0].text(), machine[2].text(), small_count(parts[1])};
}

SailorStage read_stage(const JsonField& layers, const JsonField& replicas, int first_layer) {
  SailorStage stage;
  stage.first_layer = stage.end_layer = first_layer;
  for (const JsonField& layer : layers.items()) {
    if (layer.integer() != stage.end_layer) {
      layer.fail(fmt::format("layer {}: stages hold all layers in order", stage.end_layer));
    }
    ++stage.end_layer;
  }
  if (stage.end_layer == stage.first_layer) {
    layers.fail("at least one layer");
  }
  for (const JsonField& replica : replicas.items()) {
    stage.replicas.push_back(read_replica(replica));
  }
  return stage;
}

}  // namespace

SailorPlan read_sailor_plan(const std::filesystem::path& file) {
  const json value = read_json(file);
  const JsonField root(value, file.string());
  const JsonField pipelines = root.at("pipeline_list");
  if (pipelines.items().size() != 1) {
    pipelines.fail("one pipeline");
  }
  const JsonField pipeline = pipelines.items().front();
  const JsonField layers = pipeline.at("layers_per_stage");
  const JsonField replicas = pipeline.at("tmp_per_stage");
  if (layers.items().empty() || layers.items().size() != replicas.items().size()) {
    layers.fail("as many stages as in tmp_per_stage, and at least one");
  }
  SailorPlan plan;
  plan.source = file.string();
  int next_layer = 0;
  for (std::size_t s = 0; s < layers.items().size(); ++s) {
    plan.stages.push_back(read_stage(layers.items()[s], replicas.items()[s], next_layer));
    next_layer = plan.stages.back().end_layer;
    const std::size_t count = plan.stages.back().replicas.size();
    if (count == 0 || count != plan.stages.front().replicas.size()) {
      replicas.items()[s].fail("as many replicas as the first stage has");
    }
  }
  plan.micro_batch_size = small_count(root.at("mbs"));
  const auto samples = static_cast<std::int64_t>(plan.stages.front().replicas.size()) * plan.micro_batch_size;
  const int batch = small_count(root.at("gbs"));
  if (batch % samples != 0) {
    root.at("gbs").fail(fmt::format("a multiple of micro-batch size times replicas, {}", samples));
  }
  plan.micro_batches = static_cast<int>(batch / samples);
  if (root.has("real")) {
    plan.measured = root.at("real").seconds();
    if (plan.measured->value == 0.0) {
      root.at("real").fail("a positive time");
    }
  }
  if (root.has("max_mem")) {
    plan.measured_memory = root.at("max_mem").bytes();
  }
  return plan;
}

std::vector<SailorPlan> measured_sailor_plans(const std::filesystem::path& folder, const SailorPlan& plan) {
  const std::filesystem::path plans = folder / "validation";
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(plans)) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(plans)) {
      if (entry.path().extension() == ".json" && !std::filesystem::equivalent(entry.path(), plan.source)) {
        files.push_back(entry.path());
      }
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<SailorPlan> measured;
  for (const std::filesystem::path& file : files) {
    SailorPlan other = read_sailor_plan(file);
    if (other.measured && other.stages.back().end_layer == plan.stages.back().end_layer) {
      measured.push_back(std::move(other));
    }
  }
  return measured;
}

std::vector<SailorConstants::Reason> SailorConstants::reasons() const {
  return {{"timer_s", timer.value,
           "per layer pass: the tables were taken with a hook that waits for the GPU after every layer, which shows "
           "where kernels are short (micro-batches of 1 and 2 cost the same); a run waits for none"},
          {"iteration_s", iteration.value,
           "once an iteration: data, clip norm, loss and the reduction of tied embeddings, which no table holds"},
          {"process_bytes", static_cast<double>(process.value),
           "what a process holds on a GPU whatever its stage: context and fused kernels"}};
}

SailorModel::SailorModel(const std::filesystem::path& folder, int layers, const std::string& name) : folder_(folder) {
  const std::filesystem::path profiles_file = folder / "profiles_tmp.json";
  const json profiles = read_json(profiles_file);
  const JsonField models(profiles, profiles_file.string());
  std::vector<std::string> fitting;
  for (const std::string& model : models.keys()) {
    for (const std::string& gpu : models.at(model).keys()) {
      for (const std::string& size : models.at(model).at(gpu).keys()) {
        const JsonField degrees = models.at(model).at(gpu).at(size);
        for (const std::string& degree : degrees.keys()) {
          const bool fits = static_cast<int>(degrees.at(degree).keys().size()) == layers;
          if (fits && (fitting.empty() || fitting.back() != model)) {
            fitting.push_back(model);
          }
        }
      }
    }
  }
  if (name.empty() && fitting.size() != 1) {
    throw InputError::of("{}: found {} models of {} layers, expected one (or name the model)", profiles_file.string(),
                         fitting.size(), layers);
  }
  name_ = name.empty() ? fitting.front() : name;

  const JsonField gpus = models.at(name_);
  for (const std::string& gpu : gpus.keys()) {
    for (const std::string& size : gpus.at(gpu).keys()) {
      const JsonField degrees = gpus.at(gpu).at(size);
      for (const std::string& degree : degrees.keys()) {
        std::vector<Pass>& table =
            passes_[passes_key(gpu, number_of_key(gpus.at(gpu), size), number_of_key(degrees, degree))];
        for (const JsonField& layer : numbered(degrees.at(degree))) {
          const std::vector<JsonField> times = layer.items();
          if (times.size() != 3) {
            layer.fail("[forward s, backward s, update s]");
          }
          table.push_back({times[0].seconds().value, times[1].seconds().value, times[2].seconds().value});
        }
      }
    }
  }

  const std::filesystem::path sizes_file = folder / "llm_info.json";
  const json sizes = read_json(sizes_file);
  const JsonField by_degree = JsonField(sizes, sizes_file.string()).at(name_);
  for (const std::string& degree : by_degree.keys()) {
    for (const JsonField& layer : numbered(by_degree.at(degree))) {
      layers_[number_of_key(by_degree, degree)].push_back({not_negative(layer.at("params_floats")),
                                                           not_negative(layer.at("act_output_floats")),
                                                           not_negative(layer.at("act_mem_floats"))});
    }
  }

  const std::filesystem::path links_file = folder / "multizone_bandwidths_het.json";
  const json links = read_json(links_file);
  const JsonField zones(links, links_file.string());
  for (const std::string& from_zone : zones.keys()) {
    for (const std::string& from : zones.at(from_zone).keys()) {
      for (const std::string& from_count : zones.at(from_zone).at(from).keys()) {
        const JsonField ends = zones.at(from_zone).at(from).at(from_count);
        for (const std::string& to_zone : ends.keys()) {
          for (const std::string& to : ends.at(to_zone).keys()) {
            for (const std::string& to_count : ends.at(to_zone).at(to).keys()) {
              const JsonField curve = ends.at(to_zone).at(to).at(to_count);
              if (curve.items().size() != 2 || curve.items()[0].items().size() != 3 ||
                  !(curve.items()[1].number() > 0.0)) {
                curve.fail("[[a, b, c], a rate above 0]");
              }
              const std::vector<JsonField> abc = curve.items()[0].items();
              links_[link_key(from_zone, from, from_count, to_zone, to, to_count)] = {
                  abc[0].number(), abc[1].number(), abc[2].number(), curve.items()[1].number()};
            }
          }
        }
      }
    }
  }
}

const std::vector<SailorModel::Pass>& SailorModel::passes(const SailorReplica& replica, std::int64_t size) const {
  const std::string key = passes_key(replica.gpu, size, replica.gpus);
  const auto found = passes_.find(key);
  if (found == passes_.end()) {
    throw InputError::of("{}: {}: found no table for {}", (folder_ / "profiles_tmp.json").string(), name_, key);
  }
  return found->second;
}

const std::vector<SailorModel::Layer>& SailorModel::layers(const SailorReplica& replica) const {
  const auto found = layers_.find(replica.gpus);
  if (found == layers_.end()) {
    throw InputError::of("{}: {}: found no sizes for tensor-parallel degree {}", (folder_ / "llm_info.json").string(),
                         name_, replica.gpus);
  }
  return found->second;
}

double SailorModel::transfer_s(const SailorReplica& from, const SailorReplica& to, int pairs, double bytes) const {
  const std::string count = std::to_string(pairs);
  const std::string key = link_key(from.zone, from.gpu, count, to.zone, to.gpu, count);
  const auto found = links_.find(key);
  if (found == links_.end()) {
    throw InputError::of("{}: found no link {}", (folder_ / "multizone_bandwidths_het.json").string(), key);
  }
  if (bytes <= 0.0) {
    return 0.0;
  }
  const Link& link = found->second;
  const double x = std::log2(bytes / kBytesPerMegabyte);
  const double rate = (link.a * x * x + link.b * x + link.c) * 1e9;
  // Far outside the fitted sizes the parabola falls below zero.
  constexpr double kLeastShare = 0.01;
  return bytes / std::clamp(rate, kLeastShare * link.most, link.most);
}

double SailorModel::passes_s(const SailorPlan& plan, std::size_t replica, double timer_s) const {
  std::vector<StagePasses> stages;
  std::vector<Seconds> messages;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const SailorStage& stage = plan.stages[s];
    const std::vector<Pass>& table = passes(stage.replicas[replica], plan.micro_batch_size);
    if (static_cast<int>(table.size()) < stage.end_layer) {
      throw InputError::of("{}: found layer {}, but {} has {} layers", plan.source, stage.end_layer - 1, name_,
                           table.size());
    }
    StagePasses sum;
    for (int layer = stage.first_layer; layer < stage.end_layer; ++layer) {
      const Pass& pass = table[static_cast<std::size_t>(layer)];
      sum.forward += Seconds{std::max(0.0, pass.forward_s - timer_s)};
      sum.backward += Seconds{std::max(0.0, pass.backward_s - timer_s)};
    }
    stages.push_back(sum);
    if (s > 0) {
      const SailorReplica& from = plan.stages[s - 1].replicas[replica];
      const SailorReplica& to = stage.replicas[replica];
      const double bytes = layers(from).at(static_cast<std::size_t>(stage.first_layer - 1)).output * kBytesPerFloat *
                           static_cast<double>(plan.micro_batch_size);
      messages.push_back(Seconds{std::max(transfer_s(from, to, 1, bytes), transfer_s(to, from, 1, bytes))});
    }
  }
  return deepspeed_iteration(stages, messages, plan.micro_batches).value;
}

double SailorModel::gradient_sum_s(const SailorStage& stage) const {
  const std::size_t count = stage.replicas.size();
  double slowest = 0.0;
  for (std::size_t r = 0; count > 1 && r < count; ++r) {
    const SailorReplica& from = stage.replicas[r];
    double parameters = 0.0;
    for (int layer = stage.first_layer; layer < stage.end_layer; ++layer) {
      parameters += layers(from).at(static_cast<std::size_t>(layer)).parameters;
    }
    const double bytes = parameters * kBytesPerFloat * from.gpus;  // of the whole replica
    const double n = static_cast<double>(count);
    const double step_s = transfer_s(from, stage.replicas[(r + 1) % count], from.gpus, bytes / n);
    slowest = std::max(slowest, 2.0 * (n - 1.0) * step_s);
  }
  return slowest;
}

double SailorModel::memory_bytes(const SailorPlan& plan) const {
  double fullest = 0.0;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) {
    const SailorStage& stage = plan.stages[s];
    for (const SailorReplica& replica : stage.replicas) {
      double parameters = 0.0;
      double saved = 0.0;
      double largest = 0.0;
      for (int index = stage.first_layer; index < stage.end_layer; ++index) {
        const Layer& layer = layers(replica).at(static_cast<std::size_t>(index));
        parameters += layer.parameters;
        saved += layer.saved;
        largest = std::max(largest, layer.saved);
      }
      const double in_flight = static_cast<double>(
          std::min<std::size_t>(plan.stages.size() - s, static_cast<std::size_t>(plan.micro_batches)));
      fullest = std::max(fullest, parameters * kBytesPerParameter + (saved * in_flight + largest) * kBytesPerFloat *
                                                                        static_cast<double>(plan.micro_batch_size));
    }
  }
  return fullest;
}

SailorPrediction SailorModel::predict(const SailorPlan& plan, const SailorConstants& constants) const {
  double passes_time = 0.0;
  for (std::size_t r = 0; r < plan.stages.front().replicas.size(); ++r) {
    const bool known = r > 0 && std::all_of(plan.stages.begin(), plan.stages.end(), [&](const SailorStage& stage) {
                         return stage.replicas[r] == stage.replicas[r - 1];
                       });
    if (!known) {
      passes_time = std::max(passes_time, passes_s(plan, r, constants.timer.value));
    }
  }
  double sum_time = 0.0;
  double update_time = 0.0;
  for (const SailorStage& stage : plan.stages) {
    sum_time = std::max(sum_time, gradient_sum_s(stage));
    for (const SailorReplica& replica : stage.replicas) {
      double update = 0.0;
      for (int layer = stage.first_layer; layer < stage.end_layer; ++layer) {
        update += passes(replica, plan.micro_batch_size).at(static_cast<std::size_t>(layer)).update_s;
      }
      update_time = std::max(update_time, update);
    }
  }
  return {Seconds{passes_time + sum_time + update_time} + constants.iteration,
          Bytes{std::llround(memory_bytes(plan))} + constants.process};
}

SailorConstants SailorModel::fit(std::span<const SailorPlan> plans) const {
  SailorConstants best;
  double least = std::numeric_limits<double>::infinity();
  for (int step = 0; step * kTimerStep < kLongestTimer + 0.5 * kTimerStep; ++step) {
    SailorConstants constants;
    constants.timer = Seconds{step * kTimerStep};
    constants.iteration = Seconds{0.0};
    // Relative residual of plan i: (p_i + c) / m_i - 1, least in c where sum((p_i + c - m_i) / m_i^2) is 0.
    std::vector<std::array<double, 2>> predicted_measured;
    double numerator = 0.0;
    double denominator = 0.0;
    for (const SailorPlan& plan : plans) {
      if (plan.measured) {
        const double predicted = predict(plan, constants).iteration.value;
        const double measured = plan.measured->value;
        predicted_measured.push_back({predicted, measured});
        numerator += (measured - predicted) / (measured * measured);
        denominator += 1.0 / (measured * measured);
      }
    }
    if (predicted_measured.empty()) {
      throw InputError("fit: found no measured plan, expected at least one");
    }
    constants.iteration = Seconds{std::max(0.0, numerator / denominator)};
    double squares = 0.0;
    for (const auto& [predicted, measured] : predicted_measured) {
      squares += std::pow((predicted + constants.iteration.value) / measured - 1.0, 2);
    }
    if (squares < least) {
      least = squares;
      best = constants;
    }
  }
  return best;
}

}  // namespace motley

#include "motley/plan/files.h"

#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/plan/json_field.h"

namespace motley {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

json to_json(const Boundary& boundary) {
  json result = json::array();
  for (const TensorSpec& tensor : boundary) {
    result.push_back({{"name", tensor.name},
                      {"shape", tensor.shape},
                      {"dtype", std::string(name_of(tensor.dtype))},
                      {"has_gradient", tensor.has_gradient}});
  }
  return result;
}

Boundary boundary_from(const JsonField& field) {
  Boundary result;
  for (const JsonField& item : field.items()) {
    item.allow_only({"name", "shape", "dtype", "has_gradient"});
    TensorSpec tensor;
    tensor.name = item.at("name").text();
    for (const JsonField& extent : item.at("shape").items()) {
      if (extent.integer() < 1) {
        extent.fail("an extent of at least 1");
      }
      tensor.shape.push_back(extent.integer());
    }
    const auto dtype = dtype_by_name(item.at("dtype").text());
    if (!dtype) {
      item.at("dtype").fail("a type such as \"float32\"");
    }
    tensor.dtype = *dtype;
    tensor.has_gradient = item.at("has_gradient").boolean();
    result.push_back(std::move(tensor));
  }
  return result;
}

json to_json(const DeviceTimes& times) {
  json result = {{"by_size", json::array()}, {"update_s", json::array()}};
  for (const auto& layers : times.by_size) {
    json row = json::array();
    for (const LayerTimes& t : layers) {
      row.push_back({{"forward_s", t.forward.value},
                     {"backward_s", t.backward.value},
                     {"backward_input_s", t.backward_input.value},
                     {"backward_weight_s", t.backward_weight.value},
                     {"spread", t.spread}});
    }
    result["by_size"].push_back(std::move(row));
  }
  for (const Seconds update : times.update) {
    result["update_s"].push_back(update.value);
  }
  return result;
}

DeviceTimes times_from(const JsonField& field) {
  field.allow_only({"by_size", "update_s"});
  DeviceTimes times;
  for (const JsonField& row : field.at("by_size").items()) {
    auto& layers = times.by_size.emplace_back();
    for (const JsonField& item : row.items()) {
      item.allow_only({"forward_s", "backward_s", "backward_input_s", "backward_weight_s", "spread"});
      LayerTimes t;
      t.forward = item.at("forward_s").seconds();
      t.backward = item.at("backward_s").seconds();
      t.backward_input = item.at("backward_input_s").seconds();
      t.backward_weight = item.at("backward_weight_s").seconds();
      t.spread = item.has("spread") ? item.at("spread").number() : 0.0;
      layers.push_back(t);
    }
  }
  for (const JsonField& item : field.at("update_s").items()) {
    times.update.push_back(item.seconds());
  }
  return times;
}

json points_of(const TransferCurve& curve) {
  json points = json::array();
  for (const TransferCurve::Point& point : curve.points()) {
    points.push_back({point.bytes.value, point.time.value});
  }
  return points;
}

TransferCurve curve_from(const JsonField& field) {
  std::vector<TransferCurve::Point> points;
  for (const JsonField& item : field.items()) {
    const std::vector<JsonField> pair = item.items();
    if (pair.size() != 2) {
      item.fail("[bytes, seconds]");
    }
    points.push_back({pair[0].bytes(), pair[1].seconds()});
  }
  try {
    return points.empty() ? TransferCurve() : TransferCurve(std::move(points));
  } catch (const InputError& error) {
    throw InputError::of("{}: {}", field.name(), error.what());
  }
}

json to_json(const DeviceTable& table) {
  json result = {{"alone", to_json(table.alone)}, {"busy", to_json(table.busy)}};
  for (const auto& [wire, codec] : table.codecs) {
    result["codecs"][wire] = {{"encode", points_of(codec.encode)}, {"decode", points_of(codec.decode)}};
  }
  if (!table.lacks.empty()) result["lacks"] = table.lacks;
  if (table.burst.credit > Seconds{}) {
    result["burst"] = {{"credit_s", table.burst.credit.value}, {"speed_up", table.burst.speed_up}};
  }
  return result;
}

DeviceTable table_from(const JsonField& field) {
  field.allow_only({"alone", "busy", "codecs", "lacks", "burst"});
  DeviceTable table{times_from(field.at("alone")), times_from(field.at("busy"))};
  if (field.has("codecs")) {
    const JsonField codecs = field.at("codecs");
    for (const std::string& wire : codecs.keys()) {
      const JsonField codec = codecs.at(wire);
      codec.allow_only({"encode", "decode"});
      table.codecs[wire] = {curve_from(codec.at("encode")), curve_from(codec.at("decode"))};
    }
  }
  if (field.has("lacks")) {
    for (const JsonField& wire : field.at("lacks").items()) table.lacks.push_back(wire.text());
  }
  if (field.has("burst")) {
    const JsonField burst = field.at("burst");
    burst.allow_only({"credit_s", "speed_up"});
    table.burst = {burst.at("credit_s").seconds(), burst.at("speed_up").number()};
  }
  return table;
}

json to_json(const ModelProfile& model) {
  json layers = json::array();
  for (const LayerProfile& layer : model.layers) {
    json memory = json::array();
    for (const LayerMemory& m : layer.memory) {
      memory.push_back({{"saved_bytes", m.saved.value},
                        {"queued_bytes", m.queued.value},
                        {"forward_peak_bytes", m.forward_peak.value},
                        {"backward_input_peak_bytes", m.backward_input_peak.value},
                        {"backward_weight_peak_bytes", m.backward_weight_peak.value},
                        {"backward_peak_bytes", m.backward_peak.value}});
    }
    layers.push_back({{"name", layer.name},
                      {"parameter_bytes", layer.parameters.value},
                      {"optimizer_bytes", layer.optimizer_state.value},
                      {"output", to_json(layer.output)},
                      {"memory", std::move(memory)}});
  }
  json devices = json::object();
  for (const auto& [type, table] : model.devices) {
    devices[type] = to_json(table);
  }
  return {{"name", model.name},
          {"layers", std::move(layers)},
          {"base_bytes", model.base_memory.value},
          {"micro_batch_sizes", model.micro_batch_sizes},
          {"devices", std::move(devices)}};
}

ModelProfile model_from(const JsonField& field) {
  field.allow_only({"name", "layers", "base_bytes", "micro_batch_sizes", "devices"});
  ModelProfile model;
  model.name = field.at("name").text();
  for (const JsonField& item : field.at("layers").items()) {
    item.allow_only({"name", "parameter_bytes", "optimizer_bytes", "output", "memory"});
    LayerProfile layer;
    layer.name = item.at("name").text();
    layer.parameters = item.at("parameter_bytes").bytes();
    layer.optimizer_state = item.at("optimizer_bytes").bytes();
    layer.output = boundary_from(item.at("output"));
    for (const JsonField& m : item.at("memory").items()) {
      m.allow_only({"saved_bytes", "queued_bytes", "forward_peak_bytes", "backward_input_peak_bytes",
                    "backward_weight_peak_bytes", "backward_peak_bytes"});
      layer.memory.push_back({m.at("saved_bytes").bytes(), m.at("queued_bytes").bytes(),
                              m.at("forward_peak_bytes").bytes(), m.at("backward_input_peak_bytes").bytes(),
                              m.at("backward_weight_peak_bytes").bytes(), m.at("backward_peak_bytes").bytes()});
    }
    model.layers.push_back(std::move(layer));
  }
  if (field.has("base_bytes")) {
    model.base_memory = field.at("base_bytes").bytes();
  }
  for (const JsonField& size : field.at("micro_batch_sizes").items()) {
    model.micro_batch_sizes.push_back(size.integer());
  }
  const JsonField devices = field.at("devices");
  for (const std::string& type : devices.keys()) {
    model.devices[type] = table_from(devices.at(type));
  }
  return model;
}

json links_of(const ClusterProfile& cluster) {
  json links = json::array();
  for (const auto& row : cluster.links) {
    json line = json::array();
    for (const TransferCurve& curve : row) {
      line.push_back(points_of(curve));
    }
    links.push_back(std::move(line));
  }
  return links;
}

json without_links(const ClusterProfile& cluster) {
  json devices = json::array();
  for (const Device& device : cluster.devices) {
    devices.push_back({{"name", device.name},
                       {"host", device.host},
                       {"type", device.type},
                       {"memory_bytes", device.memory.value},
                       {"usd_per_hour", device.usd_per_hour}});
    if (device.libraries.value > 0) {
      devices.back()["library_bytes"] = device.libraries.value;
    }
  }
  json all_reduce = json::array();
  for (const AllReduce& group : cluster.all_reduce) {
    all_reduce.push_back({{"devices", group.devices}, {"time", points_of(group.time)}});
  }
  json result = {{"devices", std::move(devices)},
                 {"all_reduce", std::move(all_reduce)},
                 {"action_overhead_s", cluster.action_overhead.value},
                 {"norm_exchange_s", cluster.norm_exchange.value},
                 {"emulated", cluster.emulated},
                 {"note", cluster.note}};
  for (const MeasuredTransport& measured : cluster.transports) {
    result["transports"].push_back({{"from", measured.from},
                                    {"to", measured.to},
                                    {"transport", measured.transport},
                                    {"time", points_of(measured.time)}});
  }
  for (const Host& host : cluster.hosts) {
    result["hosts"].push_back({{"name", host.name},
                               {"zone", host.zone},
                               {"send_bytes_per_s", host.send.value},
                               {"receive_bytes_per_s", host.receive.value}});
  }
  return result;
}

ClusterProfile cluster_from(const JsonField& field) {
  field.allow_only({"devices", "hosts", "links", "transports", "all_reduce", "action_overhead_s", "norm_exchange_s",
                    "emulated", "note"});
  ClusterProfile cluster;
  for (const JsonField& item : field.at("devices").items()) {
    item.allow_only({"name", "host", "type", "memory_bytes", "usd_per_hour", "library_bytes"});
    cluster.devices.push_back({item.at("name").text(), item.at("host").text(), item.at("type").text(),
                               item.at("memory_bytes").bytes(),
                               item.has("usd_per_hour") ? item.at("usd_per_hour").number() : 0.0,
                               item.has("library_bytes") ? item.at("library_bytes").bytes() : Bytes{}});
  }
  if (field.has("hosts")) {
    for (const JsonField& item : field.at("hosts").items()) {
      item.allow_only({"name", "zone", "send_bytes_per_s", "receive_bytes_per_s"});
      const auto rate = [&](const char* key) { return BytesPerSecond{item.has(key) ? item.at(key).number() : 0.0}; };
      cluster.hosts.push_back({item.at("name").text(), item.has("zone") ? item.at("zone").text() : "",
                               rate("send_bytes_per_s"), rate("receive_bytes_per_s")});
    }
  }
  for (const JsonField& row : field.at("links").items()) {
    auto& line = cluster.links.emplace_back();
    for (const JsonField& entry : row.items()) {
      line.push_back(curve_from(entry));
    }
  }
  if (field.has("transports")) {
    for (const JsonField& item : field.at("transports").items()) {
      item.allow_only({"from", "to", "transport", "time"});
      cluster.transports.push_back({static_cast<int>(item.at("from").integer()),
                                    static_cast<int>(item.at("to").integer()), item.at("transport").text(),
                                    curve_from(item.at("time"))});
    }
  }
  if (field.has("all_reduce")) {
    for (const JsonField& item : field.at("all_reduce").items()) {
      item.allow_only({"devices", "time"});
      AllReduce& group = cluster.all_reduce.emplace_back();
      for (const JsonField& device : item.at("devices").items()) {
        group.devices.push_back(static_cast<int>(device.integer()));
      }
      group.time = curve_from(item.at("time"));
    }
  }
  cluster.action_overhead = field.at("action_overhead_s").seconds();
  cluster.norm_exchange = field.at("norm_exchange_s").seconds();
  cluster.emulated = field.has("emulated") && field.at("emulated").boolean();
  cluster.note = field.has("note") ? field.at("note").text() : "";
  return cluster;
}

template <typename Quantity>
json values(const std::vector<Quantity>& quantities) {
  json result = json::array();
  for (const Quantity& quantity : quantities) {
    result.push_back(quantity.value);
  }
  return result;
}

json to_json(const Prediction& prediction) {
  json result = {{"iteration_s", prediction.iteration.value},
                 {"bubble_share", prediction.bubble_share},
                 {"stage_busy_s", values(prediction.stage_busy)},
                 {"edge_time_s", values(prediction.edge_time)},
                 {"stage_memory_bytes", values(prediction.stage_memory)},
                 {"bottleneck_s", prediction.bottleneck.value},
                 {"usd_per_sample", prediction.usd_per_sample}};
  if (prediction.expected != prediction.iteration) result["expected_s"] = prediction.expected.value;
  if (!prediction.expected_busy.empty()) result["expected_busy_s"] = values(prediction.expected_busy);
  return result;
}

/// One for each of `count` stages, or of the edges between stages.
std::vector<JsonField> each(const JsonField& field, std::size_t count) {
  std::vector<JsonField> items = field.items();
  if (items.size() != count) {
    throw InputError::of("{}: found {} numbers, expected {} as the plan has stages or edges", field.name(),
                         items.size(), count);
  }
  return items;
}

Prediction prediction_from(const JsonField& field, std::size_t stages) {
  field.allow_only({"iteration_s", "bubble_share", "stage_busy_s", "edge_time_s", "stage_memory_bytes", "bottleneck_s",
                    "usd_per_sample", "expected_s", "expected_busy_s"});
  Prediction prediction;
  prediction.iteration = field.at("iteration_s").seconds();
  prediction.expected = field.has("expected_s") ? field.at("expected_s").seconds() : prediction.iteration;
  prediction.bubble_share = field.at("bubble_share").number();
  for (const JsonField& item : each(field.at("stage_busy_s"), stages)) {
    prediction.stage_busy.push_back(item.seconds());
  }
  if (field.has("expected_busy_s")) {
    for (const JsonField& item : each(field.at("expected_busy_s"), stages)) {
      prediction.expected_busy.push_back(item.seconds());
    }
  }
  for (const JsonField& item : each(field.at("edge_time_s"), stages - 1)) {
    prediction.edge_time.push_back(item.seconds());
  }
  for (const JsonField& item : each(field.at("stage_memory_bytes"), stages)) {
    prediction.stage_memory.push_back(item.bytes());
  }
  if (field.has("bottleneck_s")) {
    prediction.bottleneck = field.at("bottleneck_s").seconds();
  }
  if (field.has("usd_per_sample")) {
    prediction.usd_per_sample = field.at("usd_per_sample").number();
  }
  return prediction;
}

int checked_int(const JsonField& field) {
  const std::int64_t value = field.integer();
  if (value < -1'000'000'000 || value > 1'000'000'000) {
    field.fail("an integer of at most 1e9 in size");
  }
  return static_cast<int>(value);
}

void check_head(const JsonField& root, const char* kind) {
  const JsonField found = root.at("motley");
  if (found.text() != kind) {
    found.fail(fmt::format("\"{}\"", kind));
  }
  const JsonField version = root.at("version");
  if (version.integer() != kVersion) {
    version.fail(fmt::format("{}", kVersion));
  }
}

}  // namespace

json to_json_without_links(const Profile& profile) {
  return {{"motley", "profile"},
          {"version", kVersion},
          {"model", to_json(profile.model)},
          {"cluster", without_links(profile.cluster)}};
}

json to_json(const Profile& profile) {
  json result = to_json_without_links(profile);
  result["cluster"]["links"] = links_of(profile.cluster);
  return result;
}

Profile profile_from_json(const json& value, const std::string& source) {
  const JsonField root(value, source);
  check_head(root, "profile");
  root.allow_only({"motley", "version", "model", "cluster"});
  Profile profile{model_from(root.at("model")), cluster_from(root.at("cluster"))};
  validate(profile, source);
  return profile;
}

json to_json(const Plan& plan) {
  json stages = json::array();
  for (const StagePlan& stage : plan.stages) {
    json replicas = json::array();
    for (const Replica& replica : stage.replicas) {
      replicas.push_back({{"device", replica.device}, {"samples", {replica.sample_begin, replica.sample_end}}});
    }
    stages.push_back({{"layers", {stage.first_layer, stage.end_layer}},
                      {"replicas", std::move(replicas)},
                      {"warm_up", stage.warm_up},
                      {"recompute", stage.recompute},
                      {"wire", stage.wire}});
    if (stage.transport != "auto") {
      stages.back()["transport"] = stage.transport;
    }
  }
  json result = {{"motley", "plan"},
                 {"version", kVersion},
                 {"planner", plan.planner},
                 {"micro_batch_size", plan.micro_batch_size},
                 {"micro_batches", plan.micro_batches},
                 {"schedule", plan.schedule},
                 {"stages", std::move(stages)},
                 {"profile_fingerprint", plan.profile_fingerprint},
                 {"model_fingerprint", plan.model_fingerprint},
                 {"emulated", plan.emulated}};
  if (!plan.actions.empty()) {
    result["actions"] = plan.actions;
  }
  if (plan.prediction) {
    result["prediction"] = to_json(*plan.prediction);
  }
  if (plan.certificate) {
    result["certificate"] = to_json(*plan.certificate);
  }
  return result;
}

Plan plan_from_json(const json& value, const std::string& source) {
  const JsonField root(value, source);
  check_head(root, "plan");
  root.allow_only({"motley", "version", "planner", "micro_batch_size", "micro_batches", "schedule", "stages", "actions",
                   "profile_fingerprint", "model_fingerprint", "emulated", "prediction", "certificate"});
  Plan plan;
  plan.planner = root.has("planner") ? root.at("planner").text() : "by hand";
  plan.micro_batch_size = checked_int(root.at("micro_batch_size"));
  plan.micro_batches = checked_int(root.at("micro_batches"));
  plan.schedule = root.has("schedule") ? root.at("schedule").text() : "1f1b";
  int layers = 0;
  int devices = 0;
  for (const JsonField& item : root.at("stages").items()) {
    item.allow_only({"layers", "replicas", "warm_up", "recompute", "wire", "transport"});
    StagePlan stage;
    const std::vector<JsonField> interval = item.at("layers").items();
    if (interval.size() != 2) {
      item.at("layers").fail("[first, end)");
    }
    stage.first_layer = checked_int(interval[0]);
    stage.end_layer = checked_int(interval[1]);
    for (const JsonField& entry : item.at("replicas").items()) {
      entry.allow_only({"device", "samples"});
      Replica replica{checked_int(entry.at("device")), 0, plan.micro_batch_size};
      if (entry.has("samples")) {
        const std::vector<JsonField> samples = entry.at("samples").items();
        if (samples.size() != 2) {
          entry.at("samples").fail("[begin, end)");
        }
        replica.sample_begin = checked_int(samples[0]);
        replica.sample_end = checked_int(samples[1]);
      }
      devices = std::max(devices, replica.device + 1);
      stage.replicas.push_back(replica);
    }
    stage.warm_up = item.has("warm_up") ? checked_int(item.at("warm_up")) : 0;
    stage.recompute = item.has("recompute") && item.at("recompute").boolean();
    stage.wire = item.has("wire") ? item.at("wire").text() : "float32";
    stage.transport = item.has("transport") ? item.at("transport").text() : "auto";
    layers = std::max(layers, stage.end_layer);
    plan.stages.push_back(std::move(stage));
  }
  if (root.has("actions")) {
    for (const JsonField& row : root.at("actions").items()) {
      plan.actions.push_back(row.text());
    }
  }
  if (root.has("profile_fingerprint")) {
    plan.profile_fingerprint = root.at("profile_fingerprint").text();
  }
  if (root.has("model_fingerprint")) {
    plan.model_fingerprint = root.at("model_fingerprint").text();
  }
  plan.emulated = root.has("emulated") && root.at("emulated").boolean();
  validate(plan, layers, devices, source);
  if (root.has("prediction")) {
    plan.prediction = prediction_from(root.at("prediction"), plan.stages.size());
  }
  if (root.has("certificate")) {
    plan.certificate = certificate_from(root.at("certificate"));
  }
  return plan;
}

std::string kind_of(const json& value) {
  return value.is_object() && value.contains("motley") && value["motley"].is_string()
             ? value["motley"].get<std::string>()
             : std::string();
}

Profile read_profile(const std::filesystem::path& file) {
  return profile_from_json(parse_json(read_text(file, "a file of Motley's"), file.string()), file.string());
}

void write_profile(const std::filesystem::path& file, const Profile& profile) {
  write_durably(file, to_json(profile).dump(1) + "\n");
}

Plan read_plan(const std::filesystem::path& file) {
  return plan_from_json(parse_json(read_text(file, "a file of Motley's"), file.string()), file.string());
}

void write_plan(const std::filesystem::path& file, const Plan& plan) {
  write_durably(file, to_json(plan).dump(1) + "\n");
}

}  // namespace motley

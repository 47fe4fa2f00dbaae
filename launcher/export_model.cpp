#include "motley/launcher/export_model.h"

#include <fmt/ranges.h>

#include <deque>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/base/log.h"
#include "motley/record/safetensors.h"
#include "motley/routing/routing_data.h"

namespace motley {
namespace {

constexpr int kVersion = 1;

nlohmann::json llms_of(const std::filesystem::path& folder) {
  const RoutingData data = read_routing_data(folder);
  nlohmann::json llms = nlohmann::json::array();
  for (std::size_t model = 0; model < data.model_count(); ++model) {
    llms.push_back({{"name", data.models[model]},
                    {"usd_per_mtok_in", data.usd_per_mtok_in[model]},
                    {"usd_per_mtok_out", data.usd_per_mtok_out[model]}});
  }
  return llms;
}

}  // namespace

void write_model(const std::filesystem::path& run, const std::filesystem::path& directory, const Config& config,
                 const Workload& workload, const std::vector<ConfigKey>& options) {
  std::deque<SafetensorsFile> files;  // the tensors below point into them
  std::map<std::string, StoredTensor> tensors;
  nlohmann::json json = {{"motley", "model weights"}, {"version", kVersion}, {"workload", workload.name}};
  for (std::size_t index = 0; index < workload.layers.size(); ++index) {
    const Layer& layer = *workload.layers[index];
    const SafetensorsFile& file = files.emplace_back(run / "weights" / fmt::format("layer-{:03d}.safetensors", index));
    nlohmann::json names = nlohmann::json::array();
    for (const ParameterSpec& spec : layer.parameters()) {
      const StoredTensor& stored = file.at(spec.name);
      if (stored.shape != spec.shape || stored.dtype != DType::Float32) {
        throw InputError::of("{}: tensor \"{}\": found {}[{}], expected float32[{}], as {} makes layer {}",
                             file.source(), spec.name, name_of(stored.dtype), fmt::join(stored.shape, ", "),
                             fmt::join(spec.shape, ", "), config.source, layer.name());
      }
      const std::string name = fmt::format("{}.{}", layer.name(), spec.name);
      names.push_back(name);
      tensors[name] = stored;
    }
    json["layers"].push_back({{"name", layer.name()}, {"parameters", std::move(names)}});
  }
  for (const ConfigKey& key : options) {
    json["options"][key.path.substr(key.path.rfind('.') + 1)] = key.value;
  }
  const std::string data = (*config.workload_options)["data"].value_or(std::string("data/mmlu_pro"));
  if (workload.name == "router" && data != "synthetic") {
    json["llms"] = llms_of(data);
  }
  write_safetensors(directory / "model.safetensors", tensors, {{"workload", workload.name}});
  write_durably(directory / "model.json", json.dump(1) + '\n');
  spdlog::info("export: wrote the {} tensors of {} to {}", tensors.size(), run.string(), directory.string());
}

}  // namespace motley

#include "motley/runtime/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/record/checksum.h"
#include "motley/record/safetensors.h"

namespace motley {
namespace {

using nlohmann::json;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kFormat = "motley checkpoint";
constexpr int kVersion = 1;
constexpr const char* kPrefix = "step-";

/// Every tensor of a layer that a checkpoint holds, with its name there.
template <typename Body>
void each_tensor(const LayerState& layer, Body&& body) {
  const auto views = [&](const at::Tensor& flat, const std::string& suffix) {
    const std::vector<at::Tensor> parts = layer.views_of(flat);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      body(layer.specs()[i].name + suffix, parts[i].detach(), layer.specs()[i].shape);
    }
  };
  views(layer.flat_parameters(), "");
  for (const Moment& moment : layer.moments()) {
    views(moment.flat, "." + moment.name);
  }
}

/// Step of a folder's name; -1 for another name.
std::int64_t step_of(const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix) || name.size() > 24) {
    return -1;
  }
  const std::string digits = name.substr(std::strlen(kPrefix));
  const bool number =
      !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  return number ? std::stoll(digits) : -1;
}

void compare(const std::string& path, const json& stored, const json& now, std::vector<std::string>& lines) {
  if (stored.is_object() && now.is_object()) {
    json keys = stored;
    keys.update(now);
    for (const auto& [key, value] : keys.items()) {
      compare(path.empty() ? key : fmt::format("{}.{}", path, key), stored.value(key, json()), now.value(key, json()),
              lines);
    }
  } else if (stored != now) {
    const auto text = [](const json& value) { return value.is_null() ? std::string("absent") : value.dump(); };
    lines.push_back(fmt::format("{}: {} in the checkpoint, {} now", path, text(stored), text(now)));
  }
}

}  // namespace

std::filesystem::path checkpoint_folder(const std::filesystem::path& parent, std::int64_t step) {
  return parent / fmt::format("{}{:06d}", kPrefix, step);
}

std::vector<std::byte> snapshot(const LayerState& layer, std::int64_t step) {
  std::map<std::string, StoredTensor> tensors;
  std::vector<at::Tensor> kept;  // what came from a device
  each_tensor(layer, [&](const std::string& name, const at::Tensor& view, const std::vector<std::int64_t>& shape) {
    kept.push_back(view.to(at::kCPU));
    tensors[name] = {
        DType::Float32, shape, {static_cast<const std::byte*>(kept.back().data_ptr()), kept.back().nbytes()}};
  });
  return to_safetensors(tensors, {{"layer", layer.layer().name()}, {"step", std::to_string(step)}});
}

void write_manifest(const Checkpoint& checkpoint) {
  json manifest = {{"format", kFormat},
                   {"version", kVersion},
                   {"step", checkpoint.step},
                   {"settings", checkpoint.settings},
                   {"layers", json::array()}};
  for (const CheckpointFile& file : checkpoint.files) {
    manifest["layers"].push_back(
        {{"layer", file.layer}, {"file", file.name}, {"bytes", file.bytes}, {"checksum", file.checksum}});
  }
  manifest["checksum"] = checksum(manifest.dump());
  write_durably(checkpoint.folder / kManifest, manifest.dump());
}

std::vector<std::int64_t> checkpoints_in(const std::filesystem::path& parent) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    const std::int64_t step = step_of(entry.path());
    if (step >= 0 && std::filesystem::exists(entry.path() / kManifest)) {
      steps.push_back(step);
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  std::filesystem::path folder = path;
  if (!std::filesystem::exists(folder / kManifest)) {
    const std::vector<std::int64_t> steps = checkpoints_in(path);
    if (steps.empty()) {
      throw InputError::of("{}: found neither {} nor folders {}* that have one, expected a checkpoint", path.string(),
                           kManifest, kPrefix);
    }
    folder = checkpoint_folder(path, steps.back());
  }
  const std::filesystem::path file = folder / kManifest;
  const std::vector<std::byte> bytes = read_bytes(file);
  const char* text = reinterpret_cast<const char*>(bytes.data());
  json manifest = json::parse(text, text + bytes.size(), nullptr, false);
  if (!manifest.is_object() || manifest.value("format", json()) != kFormat) {
    throw InputError::of("{}: is damaged or no manifest, expected a JSON object with format \"{}\"", file.string(),
                         kFormat);
  }
  if (manifest.value("version", json()) != kVersion) {
    throw InputError::of("{}: version: found {}, expected {}", file.string(), manifest.value("version", json()).dump(),
                         kVersion);
  }
  try {
    const std::string stored = manifest.at("checksum").get<std::string>();
    manifest.erase("checksum");
    if (stored != checksum(manifest.dump())) {
      throw InputError::of("{}: is damaged: its checksum is not that of its content", file.string());
    }
    Checkpoint checkpoint{folder, manifest.at("step").get<std::int64_t>(), manifest.at("settings"), {}};
    for (const json& entry : manifest.at("layers")) {
      checkpoint.files.push_back({entry.at("layer").get<int>(), entry.at("file").get<std::string>(),
                                  entry.at("bytes").get<std::int64_t>(), entry.at("checksum").get<std::string>()});
    }
    return checkpoint;
  } catch (const json::exception&) {
    throw InputError::of("{}: is damaged, expected step, settings, layers and checksum", file.string());
  }
}

void restore(const Checkpoint& checkpoint, const std::map<int, Stage*>& stages) {
  for (const auto& [index, stage] : stages) {
    for (const LayerState& layer : stage->layers()) {
      const auto listed = std::find_if(checkpoint.files.begin(), checkpoint.files.end(),
                                       [&](const CheckpointFile& file) { return file.layer == layer.index(); });
      if (listed == checkpoint.files.end()) {
        throw InputError::of("{}: has {} layers, expected layer {} ({}) too", (checkpoint.folder / kManifest).string(),
                             checkpoint.files.size(), layer.index(), layer.layer().name());
      }
      const std::filesystem::path path = checkpoint.folder / listed->name;
      std::vector<std::byte> bytes = read_bytes(path);
      if (static_cast<std::int64_t>(bytes.size()) != listed->bytes || checksum(bytes) != listed->checksum) {
        throw InputError::of("{}: is damaged: {} bytes with checksum {}, the manifest says {} with {}", path.string(),
                             bytes.size(), checksum(bytes), listed->bytes, listed->checksum);
      }
      const SafetensorsFile file(std::move(bytes), path.string());
      each_tensor(layer, [&](const std::string& name, const at::Tensor& view, const std::vector<std::int64_t>& shape) {
        const StoredTensor& stored = file.at(name);
        if (stored.shape != shape || stored.dtype != DType::Float32) {
          throw InputError::of("{}: tensor \"{}\": found {}[{}], expected float32[{}] for layer {}", path.string(),
                               name, name_of(stored.dtype), fmt::join(stored.shape, ", "), fmt::join(shape, ", "),
                               layer.layer().name());
        }
        at::Tensor(view).copy_(at::from_blob(const_cast<std::byte*>(stored.data.data()), shape, at::kFloat));
      });
      layer.parameters_written();
    }
  }
}

std::vector<std::string> differences(const json& stored, const json& now) {
  std::vector<std::string> lines;
  compare("", stored, now, lines);
  return lines;
}

}  // namespace motley

#include <fmt/format.h>

#include <algorithm>

#include "motley/launcher/show.h"
#include "motley/runtime/checkpoint.h"

namespace motley {

Shown show_checkpoint(const std::filesystem::path& path) {
  const Checkpoint checkpoint = read_checkpoint(path);
  Shown shown{
      fmt::format("checkpoint {}: training goes on with step {}\n", checkpoint.folder.string(), checkpoint.step),
      {{"step", checkpoint.step}, {"settings", checkpoint.settings}, {"layers", nlohmann::json::array()}}};
  std::int64_t bytes = 0;
  for (const CheckpointFile& file : checkpoint.files) {
    bytes += file.bytes;
    shown.words += fmt::format("  layer {:<4} {:<28} {:>10.3f} MB  {}\n", file.layer, file.name,
                               static_cast<double>(file.bytes) / 1e6, file.checksum);
    shown.json["layers"].push_back(
        {{"layer", file.layer}, {"file", file.name}, {"bytes", file.bytes}, {"checksum", file.checksum}});
  }
  shown.words += fmt::format("{} layers, {:.1f} MB\nsettings that decide the losses:\n", checkpoint.files.size(),
                             static_cast<double>(bytes) / 1e6);
  const nlohmann::json settings = checkpoint.settings.flatten();
  for (const auto& [pointer, value] : settings.items()) {
    std::string key = pointer.substr(1);
    std::ranges::replace(key, '/', '.');
    shown.words += fmt::format("  {} = {}\n", key, value.dump());
  }
  return shown;
}

}  // namespace motley

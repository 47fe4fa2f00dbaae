#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "motley/stage/stage.h"

namespace motley {

// A checkpoint is a folder "step-000040": a safetensors file a layer (parameters by name, optimiser state as
// "NAME.exp_avg"), and manifest.json, renamed into place once every rank's files are on the disk. Without a manifest it
// is none. Layers are apart, so that any plan reads what another wrote.

struct CheckpointFile {
  int layer = 0;
  std::string name;  ///< within the folder
  std::int64_t bytes = 0;
  std::string checksum;
};

struct Checkpoint {
  std::filesystem::path folder;
  std::int64_t step = 0;              ///< the next one to do
  nlohmann::json settings;            ///< an object: all that decides the losses from here on
  std::vector<CheckpointFile> files;  ///< by layer
};

[[nodiscard]] std::filesystem::path checkpoint_folder(const std::filesystem::path& parent, std::int64_t step);

/// The bytes of one layer's file, copied: training may go on.
[[nodiscard]] std::vector<std::byte> snapshot(const LayerState& layer, std::int64_t step);

/// Writes the manifest durably: the checkpoint exists when this returns. Throws Fault.
void write_manifest(const Checkpoint& checkpoint);

/// Reads the manifest of `path`: a checkpoint, or a folder of checkpoints, of which the latest counts. Throws
/// InputError naming the file when there is none, it is damaged or of another version.
[[nodiscard]] Checkpoint read_checkpoint(const std::filesystem::path& path);

/// Steps of the checkpoints in `parent` that have a manifest, ascending.
[[nodiscard]] std::vector<std::int64_t> checkpoints_in(const std::filesystem::path& parent);

/// Fills the layers of `stages`; reads no other layer's file. Throws InputError naming file, and tensor where that
/// helps, when a byte is not as written or the layer is another one; stages may be half filled then.
void restore(const Checkpoint& checkpoint, const std::map<int, Stage*>& stages);

/// Lines "train.seed: 1 in the checkpoint, 2 now", one a difference of two settings objects.
[[nodiscard]] std::vector<std::string> differences(const nlohmann::json& stored, const nlohmann::json& now);

}  // namespace motley

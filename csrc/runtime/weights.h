#pragma once

#include <filesystem>
#include <map>

#include "motley/comm/communicator.h"
#include "motley/stage/stage.h"

namespace motley {

/// Trained parameters, one safetensors file a layer ("layer-003.safetensors"), so that any cut can read what another
/// wrote. Every rank writes its own layers. Throws Fault when a file cannot be written.
void save_weights(const std::filesystem::path& directory, const std::map<int, Stage*>& stages);

/// Throws InputError naming file and tensor where something is missing or of another shape.
void load_weights(const std::filesystem::path& directory, const std::map<int, Stage*>& stages);

}  // namespace motley

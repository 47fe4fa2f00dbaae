#include "motley/runtime/weights.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "motley/base/error.h"
#include "motley/record/safetensors.h"

namespace motley {
namespace {

std::filesystem::path file_of(const std::filesystem::path& directory, int layer) {
  return directory / fmt::format("layer-{:03d}.safetensors", layer);
}

}  // namespace

void save_weights(const std::filesystem::path& directory, const std::map<int, Stage*>& stages) {
  for (const auto& [index, stage] : stages) {
    for (const LayerState& layer : stage->layers()) {
      std::vector<at::Tensor> kept;  // the spans below point into them
      std::map<std::string, StoredTensor> tensors;
      const std::vector<at::Tensor> parameters = layer.views_of(layer.flat_parameters());
      for (std::size_t i = 0; i < layer.specs().size(); ++i) {
        kept.push_back(parameters[i].detach().to(at::kCPU).contiguous());
        tensors[layer.specs()[i].name] = {
            DType::Float32,
            layer.specs()[i].shape,
            {static_cast<const std::byte*>(kept.back().data_ptr()), kept.back().nbytes()}};
      }
      write_safetensors(file_of(directory, layer.index()), tensors, {{"layer", layer.layer().name()}});
    }
  }
}

void load_weights(const std::filesystem::path& directory, const std::map<int, Stage*>& stages) {
  for (const auto& [index, stage] : stages) {
    for (const LayerState& layer : stage->layers()) {
      const SafetensorsFile file(file_of(directory, layer.index()));
      const std::vector<at::Tensor> parameters = layer.views_of(layer.flat_parameters());
      for (std::size_t i = 0; i < layer.specs().size(); ++i) {
        const ParameterSpec& spec = layer.specs()[i];
        const StoredTensor& stored = file.at(spec.name);
        if (stored.shape != spec.shape || stored.dtype != DType::Float32) {
          throw InputError::of("{}: tensor \"{}\": found {}[{}], expected float32[{}] for layer {}", file.source(),
                               spec.name, name_of(stored.dtype), fmt::join(stored.shape, ", "),
                               fmt::join(spec.shape, ", "), layer.layer().name());
        }
        const at::Tensor target = parameters[i].detach();
        MOTLEY_CHECK(target.is_contiguous() && target.nbytes() == stored.data.size(), "layout of {}", spec.name);
        at::Tensor(target).copy_(at::from_blob(const_cast<std::byte*>(stored.data.data()), spec.shape, at::kFloat));
      }
      layer.parameters_written();
    }
  }
}

}  // namespace motley

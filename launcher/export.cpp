#include <fmt/format.h>

#include <map>

#include "motley/base/error.h"
#include "motley/base/log.h"
#include "motley/launcher/config_arguments.h"
#include "motley/launcher/context.h"
#include "motley/launcher/export_model.h"
#include "motley/launcher/options.h"
#include "motley/record/safetensors.h"
#include "motley/runtime/weights.h"
#include "motley/workloads/tensor_types.h"

namespace motley {
namespace {

/// All fields of the samples of one training step, in their order.
void write_samples(const std::filesystem::path& file, const Workload& workload, const Config& config,
                   std::int64_t step) {
  const std::vector<std::int64_t> samples =
      samples_of_step(config.train.seed, step, config.train.global_batch, workload.data->size(Split::Train));
  const Fields fields = workload.data->fetch(workload.data->fields(), Split::Train, samples);
  Fields kept;  // the spans below point into them
  std::map<std::string, StoredTensor> stored;
  for (const auto& [name, tensor] : fields) {
    const at::Tensor& rows = kept[name] = tensor.contiguous();
    stored[name] = {dtype_of(rows.scalar_type()),
                    rows.sizes().vec(),
                    {static_cast<const std::byte*>(rows.data_ptr()), rows.nbytes()}};
  }
  write_safetensors(file, stored, {{"step", std::to_string(step)}});
}

}  // namespace

int command_export(const Invocation& invocation) {
  po::options_description options("options");
  ConfigArguments arguments;
  std::string out;
  std::int64_t steps = 0;
  std::string trained;
  arguments.add_to(options);
  options.add_options()("out", po::value(&out), "folder to write (default: RUN_DIRECTORY/export)")(
      "steps", po::value(&steps), "training steps whose samples are written too (default: 0)")(
      "trained", po::value(&trained),
      "folder of a training run: instead write its network as model.safetensors and model.json");
  const auto values =
      parse_options(invocation, "export", "export CONFIG [--steps N | --trained RUN] [--out DIR]",
                    "motley export configs/quickstart.toml --trained run/quickstart --out router", options, "config");
  if (!values) {
    return 0;
  }
  const Config config = arguments.read();
  if (steps < 0 || steps > config.train.steps) {
    throw InputError::of("motley export: --steps: found {}, expected 0 to train.steps = {}", steps, config.train.steps);
  }
  [[maybe_unused]] const HostMemory memory = start_device(config);
  std::vector<ConfigKey> keys;
  const Workload workload = workload_of(config, invocation.registry, &keys);
  const std::filesystem::path directory = out.empty() ? config.run_directory / "export" : std::filesystem::path(out);
  if (!trained.empty()) {
    if (steps > 0) {
      throw InputError("motley export: found --trained and --steps, expected one of them");
    }
    write_model(trained, directory, config, workload, keys);
    return 0;
  }
  Stage whole(workload, 0, static_cast<int>(workload.layers.size()), {}, config.train.seed, optimizer_options(config));
  save_weights(directory / "weights", {{0, &whole}});
  for (std::int64_t step = 0; step < steps; ++step) {
    write_samples(directory / fmt::format("step-{:06d}.safetensors", step), workload, config, step);
  }
  spdlog::info("export: wrote the weights of {} layers and the samples of {} steps to {}", workload.layers.size(),
               steps, directory.string());
  return 0;
}

}  // namespace motley

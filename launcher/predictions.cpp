#include "motley/launcher/predictions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "motley/base/progress.h"
#include "motley/record/safetensors.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

constexpr int kMicroBatches = 8;  // enough to keep a pipeline of a few stages full

}  // namespace

void write_predictions(Communicator& communicator, const Workload& workload, const std::map<int, Stage*>& stages,
                       const std::vector<int>& ranks, const ExecutorOptions& options, Pacer pacer, Split split,
                       const std::filesystem::path& file) {
  const Schedule compute = forward_only(static_cast<int>(ranks.size()), kMicroBatches);
  Executor executor(communicator, workload, stages, add_transfers(place(compute, ranks, communicator.size())), options,
                    pacer);
  const std::int64_t size = workload.data->size(split);
  const std::int64_t chunk = options.micro_batch_size * kMicroBatches;
  std::vector<std::int64_t> samples(static_cast<std::size_t>(chunk));
  std::optional<TaskProgress> progress;
  if (communicator.rank() == 0) {
    progress.emplace(
        TaskProgress::Options{.task = fmt::format("evaluate ({})", split == Split::Test ? "test" : "validation"),
                              .total = size,
                              .part = "sample",
                              .unit = "samples",
                              .only_end = true});
  }
  Fields all;
  for (std::int64_t begin = 0; begin < size; begin += chunk) {
    for (std::int64_t i = 0; i < chunk; ++i) {
      samples[static_cast<std::size_t>(i)] = std::min(begin + i, size - 1);  // the last chunk repeats the last sample
    }
    for (auto& [name, tensor] : executor.evaluate(split, samples)) {
      const at::Tensor kept = tensor.narrow(0, 0, std::min(chunk, size - begin)).to(at::kFloat).contiguous();
      at::Tensor& target = all[name];
      target = target.defined() ? at::cat({target, kept}) : kept;
    }
    if (progress) {
      progress->update(std::min(begin + chunk, size));
    }
  }
  if (all.empty()) {
    return;
  }
  std::map<std::string, StoredTensor> stored;
  for (const auto& [name, tensor] : all) {
    stored[name] = {
        DType::Float32, tensor.sizes().vec(), {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()}};
  }
  write_safetensors(file, stored);
}

}  // namespace motley

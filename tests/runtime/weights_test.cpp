#include "motley/runtime/weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "comm/ranks.h"
#include "motley/base/error.h"
#include "motley/record/safetensors.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// A folder of this process, gone at the end.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / fmt::format("motley-{}-{}", name, getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string refusal(const std::filesystem::path& folder, const std::map<int, Stage*>& stages) {
  try {
    load_weights(folder, stages);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Weights, SavedByOneCutLoadIntoAnotherBitForBit) {
  for (const Workload& workload : {small_router(), small_transformer()}) {
    const Folder folder("weights");
    const int layers = static_cast<int>(workload.layers.size());
    std::vector<at::Tensor> trained(workload.layers.size());
    run_ranks(3, with_deadline(10), [&](Communicator& communicator) {
      const OwnStages own(workload, even_cuts(workload, 3), {2, 0, 1}, communicator.rank());
      const Schedule compute = place(one_f_one_b(3, 2), std::vector{2, 0, 1}, 3);
      Executor executor(communicator, workload, own.view(), add_transfers(with_updates(compute, true)),
                        executor_options(), Pacer());
      (void)executor.train(0, batch_of(workload, 0, 2));
      save_weights(folder.path(), own.view());
      for (const LayerState& layer : own.view().begin()->second->layers()) {
        trained[static_cast<std::size_t>(layer.index())] = layer.flat_parameters().clone();
      }
    });
    for (const std::vector<int>& cuts : {std::vector{0, layers}, {0, 1, 4, layers}}) {
      const OwnStages fresh(workload, cuts, {0, 0, 0}, 0);
      load_weights(folder.path(), fresh.view());
      for (const auto& [index, stage] : fresh.view()) {
        for (const LayerState& layer : stage->layers()) {
          EXPECT_TRUE(at::equal(layer.flat_parameters(), trained[static_cast<std::size_t>(layer.index())]))
              << workload.name << " " << layer.layer().name();
        }
      }
    }
  }
}

TEST(Weights, ErrorsNameFileAndTensor) {
  const Workload workload = small_router();
  const Folder folder("wrong-weights");
  const OwnStages own(workload, even_cuts(workload, 1), {0}, 0);
  EXPECT_THAT(refusal(folder.path(), own.view()), HasSubstr("layer-000.safetensors: cannot be read"));

  save_weights(folder.path(), own.view());
  EXPECT_EQ(refusal(folder.path(), own.view()), "");
  const std::vector<float> values(3);
  const StoredTensor three{DType::Float32, {3}, std::as_bytes(std::span(values))};
  write_safetensors(folder.path() / "layer-005.safetensors", {{"norm.gain", three}});
  EXPECT_THAT(refusal(folder.path(), own.view()),
              AllOf(HasSubstr("layer-005.safetensors"),
                    HasSubstr("\"norm.gain\": found float32[3], expected float32[24]"), HasSubstr("head")));
  write_safetensors(folder.path() / "layer-005.safetensors", {{"other", three}});
  EXPECT_THAT(refusal(folder.path(), own.view()),
              AllOf(HasSubstr("layer-005.safetensors"), HasSubstr("no tensor \"norm.gain\"")));
}

}  // namespace
}  // namespace motley

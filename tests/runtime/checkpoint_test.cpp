#include "motley/runtime/checkpoint.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "comm/ranks.h"
#include "motley/base/error.h"
#include "motley/record/safetensors.h"
#include "motley/runtime/checkpointer.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kMicroBatches = 4;

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest()
      : folder_(std::filesystem::path(testing::TempDir()) /
                (std::string("motley-checkpoint-") + testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
  }
  ~CheckpointTest() override { std::filesystem::remove_all(folder_); }

  Checkpointer::Options options(const Workload& workload, int keep = 2) const {
    return {folder_, {{"seed", kSeed}}, keep, static_cast<int>(workload.layers.size())};
  }

  /// Trains steps [first, end) of `compute` on as many ranks, from the latest checkpoint where first > 0, saving one
  /// after every `every` steps.
  std::vector<double> train_some(const Workload& workload, const Schedule& compute, std::int64_t first,
                                 std::int64_t end, std::int64_t every) {
    std::vector<double> losses;
    const int ranks = compute.rank_count();
    run_ranks(ranks, with_deadline(20), [&](Communicator& communicator) {
      at::set_num_threads(1);
      const OwnStages own(workload, even_cuts(workload, ranks), compute.rank_of_stage(), communicator.rank());
      if (first > 0) {
        const Checkpoint checkpoint = read_checkpoint(folder_);
        ASSERT_EQ(checkpoint.step, first);
        restore(checkpoint, own.view());
      }
      Executor executor(communicator, workload, own.view(), add_transfers(with_updates(compute, true)),
                        executor_options(), Pacer());
      Checkpointer checkpointer(communicator, options(workload));
      for (std::int64_t step = first; step < end; ++step) {
        const StepResult result =
            executor.train(step, batch_of(workload, step, kMicroBatches), {.durable = checkpointer.durable()});
        if (communicator.rank() == 0) losses.push_back(result.loss);
        checkpointer.agreed(result.signals.durable);
        if ((step + 1 - first) % every == 0) (void)checkpointer.save(step + 1, own.view());
      }
      checkpointer.finish();
    });
    return losses;
  }

  std::filesystem::path folder_;
};

TEST_F(CheckpointTest, GoesOnBitForBitUnderAnotherCutScheduleAndRankCount) {
  for (const Workload& workload : {small_router(), small_transformer()}) {
    std::filesystem::remove_all(folder_);
    const std::vector<double> whole = plain_loop(workload, kMicroBatches, 8).losses;
    std::vector<double> parts = train_some(workload, one_f_one_b(2, kMicroBatches), 0, 3, 3);
    for (const auto& [compute, first, end] :
         {std::tuple(gpipe(3, kMicroBatches), 3, 5), std::tuple(weights_apart(one_f_one_b(4, kMicroBatches), 1), 5, 7),
          std::tuple(one_f_one_b(1, kMicroBatches), 7, 8)}) {
      const std::vector<double> more = train_some(workload, compute, first, end, end - first);
      parts.insert(parts.end(), more.begin(), more.end());
    }
    EXPECT_EQ(parts, whole) << workload.name;
  }
}

TEST_F(CheckpointTest, KeepsTheLastAndRemovesOlderOnes) {
  const Workload workload = small_router();
  (void)train_some(workload, one_f_one_b(2, kMicroBatches), 0, 7, 2);
  EXPECT_THAT(checkpoints_in(folder_), ElementsAre(4, 6));
  EXPECT_EQ(read_checkpoint(folder_).step, 6);
  EXPECT_EQ(read_checkpoint(checkpoint_folder(folder_, 4)).step, 4);
  int entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(checkpoint_folder(folder_, 6))) {
    ++entries;
  }
  EXPECT_EQ(entries, static_cast<int>(workload.layers.size()) + 1) << "a file a layer and the manifest, nothing else";
}

TEST_F(CheckpointTest, WithoutAManifestTheOneBeforeCounts) {
  (void)train_some(small_router(), one_f_one_b(1, kMicroBatches), 0, 4, 2);
  std::filesystem::remove(checkpoint_folder(folder_, 4) / "manifest.json");
  EXPECT_EQ(read_checkpoint(folder_).step, 2);
  std::filesystem::remove(checkpoint_folder(folder_, 2) / "manifest.json");
  try {
    (void)read_checkpoint(folder_);
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(folder_.string()), HasSubstr("expected a checkpoint")));
  }
}

/// A checkpoint of one step of a network small enough to damage everywhere.
Workload tiny_router() {
  return builtin_workloads().make({.name = "router",
                                   .options = workload_options("data = \"synthetic\"\nsamples = 40\nembedding = 4\n"
                                                               "models = 2\nwidth = 4\nhidden = 4\nblocks = 1"),
                                   .folder = {}});
}

void write(const std::filesystem::path& file, std::span<const std::byte> bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

TEST_F(CheckpointTest, AnyByteFlippedOrCutAtAnyOffsetIsRefusedByTheFilesName) {
  const Workload workload = tiny_router();
  (void)train_some(workload, one_f_one_b(1, kMicroBatches), 0, 1, 1);
  const std::filesystem::path folder = checkpoint_folder(folder_, 1);
  const OwnStages own(workload, even_cuts(workload, 1), {0}, 0);
  const auto complaint = [&]() -> std::string {
    try {
      restore(read_checkpoint(folder), own.view());
      return "";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  ASSERT_EQ(complaint(), "");
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::vector<std::byte> whole = read_bytes(entry.path());
    const std::string name = entry.path().filename().string();
    for (std::size_t offset = 0; offset < whole.size(); ++offset) {
      std::vector<std::byte> bytes = whole;
      bytes[offset] ^= std::byte{static_cast<unsigned char>(1U << offset % 8)};
      write(entry.path(), bytes);
      ASSERT_THAT(complaint(), HasSubstr(name)) << "flipped at " << offset;
      write(entry.path(), std::span(whole).first(offset));
      ASSERT_THAT(complaint(), HasSubstr(name)) << "cut at " << offset;
      damaged += 2;
    }
    write(entry.path(), whole);
  }
  EXPECT_GT(damaged, 4000);
  EXPECT_EQ(complaint(), "");
}

TEST_F(CheckpointTest, ALayerOfAnotherModelIsRefusedByFileAndTensor) {
  (void)train_some(small_router(), one_f_one_b(2, kMicroBatches), 0, 1, 1);
  const Workload other = builtin_workloads().make(
      {.name = "router",
       .options =
           workload_options("data = \"synthetic\"\nsamples = 60\nembedding = 20\nmodels = 5\nwidth = 16\nblocks = 4"),
       .folder = {}});
  const OwnStages own(other, even_cuts(other, 1), {0}, 0);
  try {
    restore(read_checkpoint(folder_), own.view());
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("layer-000.safetensors: tensor"), HasSubstr("expected float32[")));
  }
}

TEST_F(CheckpointTest, AFileThatCannotGrowLeavesTheCheckpointBeforeAndTrainingGoesOn) {
  const Workload workload = small_router();
  std::vector<double> losses;
  std::string failure;
  const auto ignore = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  run_ranks(1, with_deadline(20), [&](Communicator& communicator) {
    const OwnStages own(workload, even_cuts(workload, 1), {0}, 0);
    Executor executor(communicator, workload, own.view(),
                      add_transfers(with_updates(one_f_one_b(1, kMicroBatches), true)), executor_options(), Pacer());
    Checkpointer checkpointer(communicator, options(workload));
    for (std::int64_t step = 0; step < 6; ++step) {
      const StepResult result =
          executor.train(step, batch_of(workload, step, kMicroBatches), {.durable = checkpointer.durable()});
      losses.push_back(result.loss);
      checkpointer.agreed(result.signals.durable);
      if (step == 1) {
        (void)checkpointer.save(step + 1, own.view());
        checkpointer.finish();
        const rlimit small{1000, before.rlim_max};  // as a full disk: no byte beyond
        setrlimit(RLIMIT_FSIZE, &small);
      } else if (step == 3) {
        (void)checkpointer.save(step + 1, own.view());
      }
    }
    try {
      checkpointer.finish();
    } catch (const Fault& error) {
      failure = error.what();
    }
    setrlimit(RLIMIT_FSIZE, &before);
  });
  std::signal(SIGXFSZ, ignore);
  EXPECT_EQ(losses, plain_loop(workload, kMicroBatches, 6).losses);
  EXPECT_THAT(failure, AllOf(HasSubstr("checkpoint of step 4 is not complete"),
                             HasSubstr(".partial: cannot be written"), HasSubstr("File too large")));
  const Checkpoint kept = read_checkpoint(folder_);
  EXPECT_EQ(kept.step, 2);
  const OwnStages own(workload, even_cuts(workload, 1), {0}, 0);
  EXPECT_NO_THROW(restore(kept, own.view()));
}

TEST_F(CheckpointTest, TheLaterSaveIsCompletedAfterOneThatFailed) {
  const Workload workload = small_router();
  std::filesystem::create_directories(folder_);
  std::ofstream(checkpoint_folder(folder_, 2)) << "a file where the folder should be";
  (void)train_some(workload, one_f_one_b(2, kMicroBatches), 0, 4, 2);
  EXPECT_THAT(checkpoints_in(folder_), ElementsAre(4));
}

TEST(CheckpointSettings, DifferencesNameEachKeyWithBothValues) {
  const nlohmann::json stored = {{"train", {{"seed", 1}, {"steps", 5}}}, {"gone", true}};
  const nlohmann::json now = {{"train", {{"seed", 2}, {"steps", 5}}}, {"fresh", "x"}};
  EXPECT_THAT(differences(stored, now),
              ElementsAre("fresh: absent in the checkpoint, \"x\" now", "gone: true in the checkpoint, absent now",
                          "train.seed: 1 in the checkpoint, 2 now"));
  EXPECT_TRUE(differences(stored, stored).empty());
}

}  // namespace
}  // namespace motley

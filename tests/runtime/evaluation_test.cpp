#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <numeric>

#include "comm/ranks.h"
#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

constexpr int kMicroBatches = 3;

std::vector<std::int64_t> first_samples() {
  std::vector<std::int64_t> samples(kMicroBatches * kMicroBatchSize);
  std::iota(samples.begin(), samples.end(), 0);
  return samples;
}

/// Micro-batch by micro-batch through one stage.
Fields plain_outputs(const Workload& workload) {
  at::set_num_threads(1);
  Stage stage(workload, 0, static_cast<int>(workload.layers.size()), {}, kSeed, clipped_adamw());
  const auto samples = first_samples();
  std::map<std::string, TensorList> rows;
  for (int m = 0; m < kMicroBatches; ++m) {
    const std::span mine = std::span(samples).subspan(static_cast<std::size_t>(m * kMicroBatchSize), kMicroBatchSize);
    Fields outputs;
    (void)stage.forward(m, 0, {}, workload.data->fetch(stage.reads(), Split::Test, mine), false, &outputs);
    for (const auto& [name, tensor] : outputs) {
      rows[name].push_back(tensor);
    }
  }
  Fields all;
  for (const auto& [name, tensors] : rows) {
    all[name] = at::cat(tensors);
  }
  return all;
}

TEST(Evaluation, GivesTheOutputsOfThePlainLoopOnTheRankOfTheLastStage) {
  for (const Workload& workload : {small_router(), small_transformer()}) {
    const Fields expected = plain_outputs(workload);
    ASSERT_FALSE(expected.empty());
    for (const std::vector<int>& ranks : {std::vector{0, 1, 2}, {2, 0}, {1}}) {
      run_ranks(3, with_deadline(10), [&](Communicator& communicator) {
        at::set_num_threads(1);
        const int stages = static_cast<int>(ranks.size());
        const OwnStages own(workload, even_cuts(workload, stages), ranks, communicator.rank());
        const Schedule lowered = add_transfers(place(forward_only(stages, kMicroBatches), ranks, 3));
        Executor executor(communicator, workload, own.view(), lowered, executor_options(), Pacer());
        for (int i = 0; i < 2; ++i) {  // an executor may be used again
          const Fields found = executor.evaluate(Split::Test, first_samples());
          if (communicator.rank() != ranks.back()) {
            EXPECT_TRUE(found.empty());
            continue;
          }
          ASSERT_EQ(found.size(), expected.size());
          for (const auto& [name, tensor] : expected) {
            EXPECT_TRUE(at::equal(tensor, found.at(name))) << workload.name << " " << name;
          }
        }
      });
    }
  }
}

TEST(Evaluation, BetweenStepsChangesNoBitOfTheTraining) {
  const Workload workload = small_router();
  const Outcome expected = plain_loop(workload, 2, 2);
  run_ranks(2, with_deadline(10), [&](Communicator& communicator) {
    at::set_num_threads(1);
    const OwnStages own(workload, even_cuts(workload, 2), {0, 1}, communicator.rank());
    Executor training(communicator, workload, own.view(), add_transfers(with_updates(one_f_one_b(2, 2), true)),
                      executor_options(), Pacer());
    // More micro-batches than a training step has: none of their losses may stay behind.
    Executor evaluation(communicator, workload, own.view(), add_transfers(forward_only(2, kMicroBatches)),
                        executor_options(), Pacer());
    for (int step = 0; step < 2; ++step) {
      (void)evaluation.evaluate(Split::Test, first_samples());
      const StepResult result = training.train(step, batch_of(workload, step, 2));
      EXPECT_EQ(result.loss, expected.losses[static_cast<std::size_t>(step)]);
      EXPECT_EQ(result.gradient_norm, expected.norms[static_cast<std::size_t>(step)]);
    }
  });
}

TEST(Evaluation, RefusesATrainingScheduleAndABatchOfAnotherSize) {
  const Workload workload = small_router();
  run_ranks(1, with_deadline(10), [&](Communicator& communicator) {
    const OwnStages own(workload, even_cuts(workload, 1), {0}, 0);
    Executor training(communicator, workload, own.view(), with_updates(gpipe(1, kMicroBatches), true),
                      executor_options(), Pacer());
    EXPECT_THROW((void)training.evaluate(Split::Test, first_samples()), InternalError);
    EXPECT_THROW((void)training.train(0, std::vector<std::int64_t>{0, 1}), InternalError);
  });
}

}  // namespace
}  // namespace motley

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <mutex>

#include "comm/ranks.h"
#include "motley/base/error.h"
#include "motley/runtime/runnable.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// A router's data with one query whose embedding is infinite.
class OneBadSample final : public DataSource {
 public:
  OneBadSample(std::shared_ptr<const DataSource> good, std::int64_t bad) : good_(std::move(good)), bad_(bad) {}
  std::int64_t size(Split split) const override { return good_->size(split); }
  std::vector<std::string> fields() const override { return good_->fields(); }
  Fields fetch(std::span<const std::string> names, Split split, std::span<const std::int64_t> samples) const override {
    Fields fields = good_->fetch(names, split, samples);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (samples[i] == bad_ && fields.contains("embedding")) {
        fields["embedding"][static_cast<std::int64_t>(i)].fill_(std::numeric_limits<float>::infinity());
      }
    }
    return fields;
  }

 private:
  std::shared_ptr<const DataSource> good_;
  std::int64_t bad_;
};

/// Adds 0 to what it is handed, by way of a root whose slope at 0 is infinite.
class Cliff final : public Layer {
 public:
  std::string name() const override { return "cliff"; }
  std::vector<ParameterSpec> parameters() const override {
    return {{"w", {1}, ParameterSpec::Init::Zeros, 0.0, false}};
  }
  Boundary output(const Boundary& input) const override { return input; }
  TensorList forward(const TensorList& input, LayerContext& context) const override {
    return {input[0] + context.parameters[0].sqrt()};
  }
};

/// Hands on what it is handed, and calls `action` in the forward of a micro-batch of a step.
class Hook final : public Layer {
 public:
  Hook(std::int64_t step, int micro_batch, std::function<void()> action)
      : step_(step), micro_batch_(micro_batch), action_(std::move(action)) {}
  std::string name() const override { return "hook"; }
  std::vector<ParameterSpec> parameters() const override { return {}; }
  Boundary output(const Boundary& input) const override { return input; }
  TensorList forward(const TensorList& input, LayerContext& context) const override {
    if (context.random.step == step_ && context.random.micro_batch == micro_batch_) {
      action_();
    }
    return {input[0] * 1.0};
  }

 private:
  std::int64_t step_;
  int micro_batch_;
  std::function<void()> action_;
};

void insert(Workload& workload, int at, std::shared_ptr<const Layer> layer) {
  workload.layers.insert(workload.layers.begin() + at, std::move(layer));
}

/// What each rank's `body` threw.
std::vector<std::string> failures(int ranks, const CommOptions& options,
                                  const std::function<void(Communicator&)>& body) {
  std::vector<std::string> texts(static_cast<std::size_t>(ranks));
  try {
    run_ranks(ranks, options, [&](Communicator& communicator) {
      try {
        body(communicator);
      } catch (const std::exception& error) {
        texts[static_cast<std::size_t>(communicator.rank())] = error.what();
        throw;
      }
    });
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): `texts` has it
  }
  return texts;
}

std::string refusal(const std::string& csv) {
  try {
    expect_runnable(parse_csv(csv, "test"));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Failure, ANonFiniteLossNamesStepAndLayerAndKeepsTheParametersOfTheStepBefore) {
  Workload workload = small_router();
  workload.data = std::make_shared<OneBadSample>(workload.data, 13);
  const std::vector<std::int64_t> good{0, 1, 2, 3};
  const std::vector<std::int64_t> bad{4, 5, 13, 6};
  const auto texts = failures(2, with_deadline(10), [&](Communicator& communicator) {
    at::set_num_threads(1);
    const std::vector<int> cuts = even_cuts(workload, 2);
    const OwnStages stages(workload, cuts, {0, 1}, communicator.rank());
    const Schedule lowered = add_transfers(with_updates(one_f_one_b(2, 2), true));
    Executor executor(communicator, workload, stages.view(), lowered, executor_options(), Pacer());
    (void)executor.train(0, good);
    std::vector<at::Tensor> before;
    for (const LayerState& layer : stages.view().begin()->second->layers()) {
      before.push_back(layer.flat_parameters().clone());
    }
    EXPECT_THROW((void)executor.train(1, bad), Fault);
    std::size_t i = 0;
    for (const LayerState& layer : stages.view().begin()->second->layers()) {
      EXPECT_TRUE(at::equal(before[i++], layer.flat_parameters())) << layer.layer().name();
    }
    throw Fault(communicator.failure());
  });
  EXPECT_THAT(texts, testing::Each(AllOf(HasSubstr("step 1: the loss, in layer head, is not finite"),
                                         HasSubstr("parameters are those of step 0"))));
}

TEST(Failure, ANonFiniteGradientNamesTheLayerWhereItBegan) {
  Workload workload = small_router();
  insert(workload, 3, std::make_shared<Cliff>());
  const auto texts = failures(2, with_deadline(10), [&](Communicator& communicator) {
    (void)train(communicator, workload, even_cuts(workload, 2), gpipe(2, 2), 1);
  });
  EXPECT_THAT(texts, testing::Each(AllOf(HasSubstr("step 0: the gradient of layer cliff is not finite"),
                                         HasSubstr("parameters are as they began"))));
}

TEST(Failure, ASchedulePostingNoReceiveIsRefusedByTheActionsName) {
  EXPECT_EQ(refusal("0F0,0SEND_F0,0RECV_B0,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n"), "");
  EXPECT_THAT(refusal("0F0,0SEND_F0,0RECV_B0,0B0\n1F0,1B0,1SEND_B0\n"),
              HasSubstr("0SEND_F0 on rank 0 has no 1RECV_F0"));
  EXPECT_THAT(refusal("0F0,0SEND_F0,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n"),
              HasSubstr("1SEND_B0 on rank 1 has no 0RECV_B0"));
  EXPECT_THAT(refusal("0F0,0SEND_F0,0B0,0RECV_B0\n1RECV_F0,1F0,1B0,1SEND_B0\n"), HasSubstr("0RECV_B0 stands after"));
}

TEST(Failure, SchedulesThatTrainSomethingElseAreRefused) {
  EXPECT_THAT(refusal("0F0,0B0,0F1\n"), HasSubstr("0B1"));
  EXPECT_THAT(refusal("0F0,0F1,0B1,0B0\n"), HasSubstr("weight gradients of micro-batch 1 come before those of 0"));
  EXPECT_THAT(refusal("0F0,0B0,0UPDATE,0F1,0B1\n"), HasSubstr("0F1 stands after 0UPDATE"));
  EXPECT_THAT(refusal("0UNSHARD,0F0,0B0\n"), HasSubstr("0UNSHARD cannot be executed"));
}

TEST(Failure, TheExecutorRefusesOnEveryRankBeforeAnythingWaits) {
  const Workload workload = small_router();
  const auto texts = failures(2, with_deadline(60), [&](Communicator& communicator) {
    const OwnStages stages(workload, even_cuts(workload, 2), {0, 1}, communicator.rank());
    const Schedule schedule = parse_csv("0F0,0SEND_F0,0RECV_B0,0B0\n1F0,1B0,1SEND_B0\n", "test");
    const Executor executor(communicator, workload, stages.view(), schedule, executor_options(), Pacer());
  });
  EXPECT_THAT(texts, testing::Each(HasSubstr("1RECV_F0")));
}

// A rank throws while transfers are under way everywhere, held back on slow links. What their buffers then hold is for
// the address sanitizer to say; here, every rank ends and knows why.
TEST(Failure, ARankThatThrowsEndsAllWithTransfersUnderWay) {
  for (const int thrower : {0, 1, 2}) {
    Workload workload = small_router();
    for (const int place : {1, 3, 5}) {
      const int stage = place / 2;
      insert(workload, place + stage, std::make_shared<Hook>(1, 1, [=] {
               if (stage == thrower) {
                 throw Fault("the device is gone");
               }
             }));
    }
    CommOptions options = with_deadline(10);
    for (int from = 0; from < 3; ++from) {
      for (int to = 0; to < 3; ++to) {
        if (from != to) {
          options.emulated_links.push_back({from, to, {1e5}, {0.005}});
        }
      }
    }
    const auto texts = failures(3, options, [&](Communicator& communicator) {
      (void)train(communicator, workload, even_cuts(workload, 3), one_f_one_b(3, 5), 3);
    });
    EXPECT_THAT(texts, testing::Each(HasSubstr("the device is gone")));
    for (int rank = 0; rank < 3; ++rank) {
      if (rank != thrower) {
        EXPECT_THAT(texts[static_cast<std::size_t>(rank)], HasSubstr("rank " + std::to_string(thrower)));
      }
    }
  }
}

TEST(Failure, ARankThatHangsEndsAllWithinTheDeadlineAndIsNamed) {
  Workload workload = small_router();
  std::atomic<bool> released{false};
  insert(workload, 4, std::make_shared<Hook>(0, 1, [&] {
           while (!released) {
             std::this_thread::sleep_for(std::chrono::milliseconds(5));
           }
         }));
  const auto texts = failures(3, with_deadline(1.0), [&](Communicator& communicator) {
    try {
      (void)train(communicator, workload, {0, 2, 4, 7}, one_f_one_b(3, 3), 1);
    } catch (...) {
      if (communicator.rank() != 2) {
        released = true;
      }
      throw;
    }
  });
  EXPECT_THAT(texts[0], AllOf(HasSubstr("rank 2"), HasSubstr("2F1")));
  EXPECT_THAT(texts[1], AllOf(HasSubstr("rank 2"), HasSubstr("2F1")));
}

TEST(Failure, AnExecutorMayGoAfterAFailureWhileThePeerStillSends) {
  // The first rank throws by itself between posting its receives and the arrival of the gradients.
  Workload workload = small_transformer();
  insert(workload, 1, std::make_shared<Hook>(0, 3, [] { throw Fault("no more memory"); }));
  const auto texts = failures(2, with_deadline(10), [&](Communicator& communicator) {
    for (int i = 0; i < 2; ++i) {
      (void)train(communicator, workload, even_cuts(workload, 2), one_f_one_b(2, 4, std::vector{4, 1}), 1);
    }
  });
  EXPECT_THAT(texts, testing::Each(HasSubstr("no more memory")));
}

}  // namespace
}  // namespace motley

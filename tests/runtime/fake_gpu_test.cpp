// The whole engine on fakes of CUDA and NCCL: the bits of the host, nothing left behind, failures told by name. The
// ranks are threads, each with a fake device of its own, whose tensors are the host's.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "comm/ranks.h"
#include "fakes/fakes.h"
#include "motley/base/error.h"
#include "motley/device/device_kernels.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

using fakes::Operation;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;

constexpr int kSteps = 3;

/// How edges cross.
using Transport = std::function<std::string(int from, int to)>;

Transport all(const std::string& name) {
  return [name](int, int) { return name; };
}

/// Forward edges over NCCL, backward ones by way of the host, say.
std::string mixed(int from, int to) {
  return from < to ? "nccl" : "host";
}

/// A rank's fake device, with kernels or without.
struct Gpu {
  explicit Gpu(int rank, bool with_kernels = true)
      : kernels(load_device_kernels(fakes::cuda(), MOTLEY_FAKE_GPU)),
        cuda(fakes::cuda(), rank),
        device(cuda_device(cuda, {.cap = Bytes{1 << 30}, .kernels = with_kernels ? &kernels : nullptr})),
        nccl(fakes::nccl()) {}

  /// RunOptions or ExecutorOptions, for a rank that computes here.
  template <typename Options>
  void equip(Options& options, const Transport& transport) {
    options.device = device.get();
    options.nccl = &nccl;
    options.edge_transport = transport;
  }

  kernels::DeviceKernels kernels;
  CudaDevice cuda;
  std::unique_ptr<ComputeDevice> device;
  NcclApi nccl;
};

Outcome train_on_gpu(Communicator& communicator, const Workload& workload, const std::vector<int>& cuts,
                     const Schedule& compute, const Transport& transport, RunOptions options = {},
                     bool with_kernels = true) {
  Gpu gpu(communicator.rank(), with_kernels);
  gpu.equip(options, transport);
  return train(communicator, workload, cuts, compute, kSteps, options);
}

void expect_same_bits(const Outcome& expected, const Outcome& found) {
  EXPECT_EQ(expected.losses, found.losses);
  EXPECT_EQ(expected.norms, found.norms);
  for (std::size_t layer = 0; layer < expected.weights.size(); ++layer) {
    if (found.weights[layer].defined()) {
      EXPECT_TRUE(at::equal(expected.weights[layer], found.weights[layer])) << "weights of layer " << layer;
    }
  }
}

void expect_nothing_left() {
  const fakes::Counts counts = fakes::control().counts();
  EXPECT_EQ(counts.streams, 0);
  EXPECT_EQ(counts.events, 0);
  EXPECT_EQ(counts.device_blocks, 0);
  EXPECT_EQ(counts.pinned_blocks, 0);
  EXPECT_EQ(counts.communicators, 0);
  EXPECT_THAT(fakes::control().misuse(), IsEmpty());
}

void play(const std::string& script) {
  fakes::control().play("devices=8;" + script);
}

struct Case {
  std::string name;
  std::vector<int> cuts;
  Schedule compute;
};

std::vector<Case> cases_of(const Workload& workload, int stages) {
  const std::vector<int> cuts = even_cuts(workload, stages);
  return {{"1f1b x 1", cuts, one_f_one_b(stages, 1)},
          {"1f1b x 5", cuts, one_f_one_b(stages, 5)},
          {"gpipe x 4", cuts, gpipe(stages, 4)},
          {"weights apart x 4", cuts, weights_apart(one_f_one_b(stages, 4), 2)}};
}

TEST(FakeGpu, TrainingGivesTheBitsOfTheHostOverEveryTransport) {
  play("");
  for (const Workload& workload : {small_router(), small_transformer()}) {
    for (const int stages : {1, 2, 3}) {
      run_ranks(stages, with_deadline(20), [&](Communicator& communicator) {
        for (const Case& c : cases_of(workload, stages)) {
          const Outcome plain = train(communicator, workload, c.cuts, c.compute, kSteps);
          for (const auto& [name, transport] :
               {std::pair<std::string, Transport>("nccl", all("nccl")), {"host", all("host")}, {"mixed", mixed}}) {
            SCOPED_TRACE(fmt::format("{}: {}, {} stages over {}", workload.name, c.name, stages, name));
            expect_same_bits(plain, train_on_gpu(communicator, workload, c.cuts, c.compute, transport));
          }
        }
      });
    }
  }
  expect_nothing_left();
}

TEST(FakeGpu, EveryStageIsUpdatedByOneLaunchBehindItsNorms) {
  play("");
  const Workload workload = small_router();
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    (void)train_on_gpu(communicator, workload, even_cuts(workload, 2), one_f_one_b(2, 4), all("nccl"));
  });
  std::map<int, std::vector<std::string>> updates;  // by device
  std::map<int, std::map<std::string, int>> launched;
  std::map<int, int> compute;
  for (const Operation& operation : fakes::control().operations()) {
    compute.emplace(operation.device, operation.stream);  // the first stream there was
    if (operation.kind == Operation::Kind::Kernel) {
      ++launched[operation.device][operation.name];
      if (operation.name == "adamw" || operation.name == "squared_norms") {
        updates[operation.device].push_back(operation.name);
      }
      EXPECT_EQ(operation.stream, compute.at(operation.device)) << operation.name;
    }
  }
  ASSERT_EQ(updates.size(), 2U);
  for (const auto& [device, names] : updates) {
    std::vector<std::string> expected;
    for (int step = 0; step < kSteps; ++step) expected.insert(expected.end(), {"squared_norms", "adamw"});
    EXPECT_EQ(names, expected) << "device " << device;
  }
  // The router's head is on the second, and is run once a micro-batch.
  EXPECT_EQ(launched[0].count("router_score"), 0U);
  EXPECT_EQ(launched[1]["router_score"], 4 * kSteps);
  EXPECT_EQ(launched[1]["router_model_gradient"], 4 * kSteps);
  // Both have layers that drop out, forward and backward alike (no one asks for the embedding's gradient).
  EXPECT_GT(launched[0]["dropout"], 4 * kSteps);
  EXPECT_GT(launched[1]["dropout"], 4 * kSteps);
  expect_nothing_left();
}

TEST(FakeGpu, WithoutKernelsLibTorchUpdates) {
  play("");
  const Workload workload = small_router();
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    const Case c = cases_of(workload, 2)[1];
    const Outcome plain = train(communicator, workload, c.cuts, c.compute, kSteps);
    expect_same_bits(plain, train_on_gpu(communicator, workload, c.cuts, c.compute, all("nccl"), {}, false));
  });
  for (const Operation& operation : fakes::control().operations()) {
    EXPECT_NE(operation.kind, Operation::Kind::Kernel) << operation.name;
  }
  expect_nothing_left();
}

TEST(FakeGpu, SlowTransfersChangeNoBit) {
  play("nccl.delay=0.003");
  const Workload workload = small_router();
  run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
    const Case c = cases_of(workload, 3)[1];
    const Outcome plain = train(communicator, workload, c.cuts, c.compute, kSteps);
    expect_same_bits(plain, train_on_gpu(communicator, workload, c.cuts, c.compute, all("nccl")));
  });
  expect_nothing_left();
}

TEST(FakeGpu, InterleavedStagesAndWireFormatsGiveTheBitsOfTheHost) {
  play("");
  const Workload workload = small_transformer();
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    const std::vector<int> cuts = even_cuts(workload, 4);
    const Schedule compute = interleaved_one_f_one_b(2, 4, 4);
    RunOptions options;
    options.wires = {Wire::BFloat16, Wire::Int8, Wire::Float32, Wire::Float32};
    const Outcome plain = train(communicator, workload, cuts, compute, kSteps, options);
    for (const std::string transport : {"nccl", "host"}) {
      expect_same_bits(plain, train_on_gpu(communicator, workload, cuts, compute, all(transport), options));
    }
  });
  std::set<std::string> launched;
  for (const Operation& operation : fakes::control().operations()) launched.insert(operation.name);
  EXPECT_THAT(launched, IsSupersetOf({"narrow", "widen", "encode", "decode"}));
  expect_nothing_left();
}

TEST(FakeGpu, ReplicasSumOverNcclAsOverTheHost) {
  play("");
  const Workload workload = small_router();
  run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
    const std::vector<int> cuts = even_cuts(workload, 2);
    RunOptions options;
    options.shares = {{{0, 0, 1}, {1, 1, 2}}, {{2, 0, 2}}};
    const Schedule compute = replicate(place(one_f_one_b(2, 4), std::vector<int>{0, 2}, 3), options.shares);
    const Outcome plain = train(communicator, workload, cuts, compute, kSteps, options);
    for (const std::string transport : {"nccl", "host"}) {
      options.group_transport = transport;
      expect_same_bits(plain, train_on_gpu(communicator, workload, cuts, compute, all(transport), options));
    }
  });
  expect_nothing_left();
}

TEST(FakeGpu, AGpuAndAHostTrainTogether) {
  play("");
  const Workload workload = small_router();
  run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
    const Case c = cases_of(workload, 3)[1];
    const Outcome plain = train(communicator, workload, c.cuts, c.compute, kSteps);
    // Ranks 0 and 1 have GPUs, and NCCL between them.
    const Transport transport = [](int from, int to) { return from < 2 && to < 2 ? "nccl" : "host"; };
    expect_same_bits(plain, communicator.rank() == 2
                                ? train(communicator, workload, c.cuts, c.compute, kSteps)
                                : train_on_gpu(communicator, workload, c.cuts, c.compute, transport));
  });
  expect_nothing_left();
}

TEST(FakeGpu, EvaluationAndTracesAreThoseOfTheHost) {
  play("");
  const Workload workload = small_router();
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    at::set_num_threads(1);
    Gpu gpu(communicator.rank());
    const std::vector<int> cuts = even_cuts(workload, 2);
    const OwnStages own(workload, cuts, {0, 1}, communicator.rank());
    std::vector<std::int64_t> samples(8);
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<std::int64_t>(i) % 6;
    ExecutorOptions options = executor_options(true);
    const auto outputs = [&] {
      Executor executor(communicator, workload, own.view(), add_transfers(forward_only(2, 4)), options, Pacer());
      return executor.evaluate(Split::Validation, samples);
    };
    const Fields on_host = outputs();
    gpu.equip(options, all("nccl"));
    const Fields on_gpu = outputs();
    ASSERT_EQ(on_host.size(), on_gpu.size());
    for (const auto& [name, tensor] : on_host) EXPECT_TRUE(at::equal(tensor, on_gpu.at(name))) << name;

    Executor executor(communicator, workload, own.view(), add_transfers(with_updates(one_f_one_b(2, 3), true)), options,
                      Pacer());
    for (int step = 0; step < 3; ++step) {
      const StepResult result = executor.train(step, batch_of(workload, step, 3));
      executor.settle();
      std::set<std::string> names;
      for (const TraceEvent& event : executor.events()) {
        EXPECT_LE(event.start, event.end) << event.name;
        EXPECT_GT(event.start.value, 0.0) << event.name;
        names.insert(event.name);
      }
      for (const Action& action : executor.actions()) {
        if (action.op != Op::Norm && !is_receive(action.op)) {
          EXPECT_TRUE(names.contains(to_string(action))) << to_string(action);
        }
      }
      EXPECT_GT(executor.times().busy.value, 0.0);
      EXPECT_LE(executor.times().busy, result.wall);
      ASSERT_EQ(executor.links().size(), 1U);
      EXPECT_EQ(executor.links().front().from, communicator.rank());
      EXPECT_EQ(executor.links().front().messages, 3);
    }

    // By way of the host, where the receiver tells what a message took.
    gpu.equip(options, all("host"));
    Executor staged(communicator, workload, own.view(), add_transfers(with_updates(one_f_one_b(2, 3), true)), options,
                    Pacer());
    std::int64_t messages = 0;
    for (int step = 0; step < 3; ++step) {
      (void)staged.train(step, batch_of(workload, step, 3));
      staged.settle();
      ASSERT_LE(staged.links().size(), 1U);
      for (const LinkTimes& link : staged.links()) {
        EXPECT_EQ(link.from, 1 - communicator.rank());
        EXPECT_EQ(link.kind, communicator.rank() == 0 ? "1SEND_B" : "0SEND_F");
        messages += link.messages;
      }
      for (const TraceEvent& event : staged.events()) {
        EXPECT_LE(event.start, event.end) << event.name;
        EXPECT_GT(event.start.value, 0.0) << event.name;
      }
    }
    // The copies of the last ones to the device may not have been seen to end.
    EXPECT_GT(messages, 3);
  });
  expect_nothing_left();
}

TEST(FakeGpu, TimesOfAStepAreKnownThoughTheDeviceIsBehind) {
  play("event.delay=0.0005");
  const Workload workload = small_router();
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    at::set_num_threads(1);
    Gpu gpu(communicator.rank());
    const OwnStages own(workload, even_cuts(workload, 2), {0, 1}, communicator.rank());
    ExecutorOptions options = executor_options(true);
    gpu.equip(options, all("nccl"));
    Executor executor(communicator, workload, own.view(), add_transfers(with_updates(one_f_one_b(2, 3), true)), options,
                      Pacer());
    // Two ends of 3 forwards, 3 backwards and an update, of which the last may still be on its way.
    constexpr double kLeast = 6 * 0.0005;
    for (int step = 0; step < 4; ++step) {
      const StepResult result = executor.train(step, batch_of(workload, step, 3));
      EXPECT_GT(executor.times().busy.value, kLeast) << "step " << step;
      if (step > 0) {
        for (const RankTimes& times : result.ranks) EXPECT_GT(times.busy.value, kLeast) << "step " << step;
      }
    }
    executor.settle();
    // What a step left over is booked in the next one, not in all that follow.
    EXPECT_LT(executor.events().size(), 3U * executor.actions().size());
  });
  expect_nothing_left();
}

TEST(FakeGpu, EveryTransferIsOrderedBehindTheComputingAndEveryComputeBehindItsReceive) {
  play("");
  const Workload workload = small_router();
  run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
    (void)train_on_gpu(communicator, workload, even_cuts(workload, 2), one_f_one_b(2, 4), all("nccl"));
  });
  expect_nothing_left();
  std::map<int, std::vector<Operation>> by_device;
  for (const Operation& operation : fakes::control().operations()) by_device[operation.device].push_back(operation);
  ASSERT_EQ(by_device.size(), 2U);
  for (const auto& [device, operations] : by_device) {
    const int compute = operations.front().stream;
    std::map<int, Operation> last_wait;
    std::map<int, int> received;  // by stream
    std::map<int, int> awaited;   // waits of the compute stream for that stream
    std::set<const void*> before_any;
    int transfers = 0;
    for (const Operation& operation : operations) {
      const bool transfer = operation.kind == Operation::Kind::Send || operation.kind == Operation::Kind::Receive;
      if (operation.kind == Operation::Kind::Wait) {
        last_wait[operation.stream] = operation;
        if (operation.stream == compute) ++awaited[operation.marked_stream];
      }
      if (transfer) {
        ++transfers;
        EXPECT_NE(operation.stream, compute);
        EXPECT_EQ(last_wait.at(operation.stream).marked_stream, compute);
        last_wait.erase(operation.stream);  // one wait for each transfer
      }
      if (operation.kind == Operation::Kind::Receive) ++received[operation.stream];
    }
    // An edge each way: the first transfer, and four messages in each of three steps.
    EXPECT_EQ(transfers, 2 * (1 + 4 * kSteps));
    for (const auto& [stream, count] : received) EXPECT_GE(awaited[stream], count);
  }
}

/// What the ranks of two say when they train under `script`, and how long that took.
struct Failed {
  std::vector<std::string> said{"", ""};
  double seconds = 0.0;
};

Failed failures_under(const std::string& script, double deadline) {
  play(script);
  const Workload workload = small_router();
  Failed failed;
  const auto start = std::chrono::steady_clock::now();
  run_ranks(2, with_deadline(deadline), [&](Communicator& communicator) {
    try {
      (void)train_on_gpu(communicator, workload, even_cuts(workload, 2), one_f_one_b(2, 4), all("nccl"));
    } catch (const std::exception& error) {
      communicator.abort(error.what());
      failed.said[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  failed.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return failed;
}

TEST(FakeGpuFailure, ALostMessageEndsTraining) {
  const Failed failed = failures_under("device0:nccl.lose@4", 1.0);
  for (const std::string& text : failed.said) {
    EXPECT_THAT(text, AllOf(HasSubstr("waited 1.0 s for 1RECV_F"), HasSubstr("from rank 0")));
  }
  EXPECT_LT(failed.seconds, 8.0);
  expect_nothing_left();
}

TEST(FakeGpuFailure, AnAsynchronousErrorEndsTraining) {
  const Failed failed = failures_under("device1:nccl.async@6=6", 30.0);
  EXPECT_EQ(failed.said[0], failed.said[1]);
  EXPECT_THAT(failed.said[0], HasSubstr("rank 1 ended the run: NCCL, edge from rank "));
  EXPECT_LT(failed.seconds, 10.0);
  expect_nothing_left();
}

TEST(FakeGpuFailure, APeerThatNeverConnectsEndsTrainingBeforeItBegins) {
  const Failed failed = failures_under("device1:nccl.init_hang", 1.0);
  for (const std::string& text : failed.said) EXPECT_THAT(text, HasSubstr("connecting took more than 1.0 s"));
  EXPECT_LT(failed.seconds, 6.0);
  expect_nothing_left();
}

TEST(FakeGpuFailure, ABrokenDeviceEndsTraining) {
  const Failed failed = failures_under("device1:sticky@60=700", 5.0);
  // Met by whichever comes first: a call of the runtime or the launch of a kernel.
  EXPECT_THAT(failed.said[1], HasSubstr("an illegal memory access was encountered (CUDA error 700)"));
  EXPECT_EQ(failed.said[0], "rank 1 ended the run: " + failed.said[1]);
  EXPECT_LT(failed.seconds, 6.0);
}

TEST(FakeGpuFailure, AKernelThatCannotBeLaunchedEndsTraining) {
  const Failed failed = failures_under("device1:kernel.adamw@1=700", 5.0);
  EXPECT_EQ(failed.said[1],
            "kernel adamw: could not be launched: an illegal memory access was encountered (CUDA error 700)");
  EXPECT_EQ(failed.said[0], "rank 1 ended the run: " + failed.said[1]);
  EXPECT_LT(failed.seconds, 6.0);
  expect_nothing_left();
}

TEST(FakeGpuFailure, NoRoomForAConnectionNamesTheDevice) {
  const Failed failed = failures_under("device1:memory=2", 5.0);
  EXPECT_EQ(failed.said[1], "out of memory on cuda:1: asked for 4 bytes, 2 of 2 are free");
  EXPECT_EQ(failed.said[0], "rank 1 ended the run: " + failed.said[1]);
  expect_nothing_left();
}

TEST(MessageSizes, RanksOfUnlikeModelsAreToldApartBeforeTheyTrain) {
  const Workload narrow = small_router();
  const Workload wide = builtin_workloads().make(
      {.name = "router",
       .options = workload_options("data = \"synthetic\"\nsamples = 60\nembedding = 20\nmodels = 5\nwidth = 28\n"
                                   "hidden = 40\nblocks = 4\ndropout = 0.2\ninput_dropout = 0.3"),
       .folder = {}});
  std::vector<std::string> said(2);
  run_ranks(2, with_deadline(10), [&](Communicator& communicator) {
    const Workload& own = communicator.rank() == 0 ? narrow : wide;
    try {
      (void)train(communicator, own, even_cuts(own, 2), one_f_one_b(2, 2), 1);
    } catch (const InputError& error) {
      said[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  EXPECT_EQ(said[0], said[1]);
  EXPECT_EQ(said[0],
            "edge from rank 0 to rank 1: message 0 of an iteration: rank 0 sends 192 bytes, rank 1 expects 224; do all "
            "ranks have the same configuration and plan?");
}

}  // namespace
}  // namespace motley
